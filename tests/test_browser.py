"""The browser of the tests comes to its end, whatever a test has left behind."""
from petcam.data import get_data

LEFT = []

def test_processes_that_make_images_do_not_keep_the_browser_waiting(browser, few_pets):
    "They are forked, hold the driver's pipe open and outlive the test: without `stop_driver` this file would never end"
    page = browser.new_page()
    page.goto('about:blank')
    data = get_data(32, 8, path=few_pets, workers=2)
    LEFT.append(iter(data.train_dl))
    assert next(LEFT[0])[0].shape == (8, 3, 32, 32)
    page.close()
