// image (c,h,w) and kernels (n,c,kh,kw) -> (n,h',w'), arrays of arrays; as torch's conv2d
function convolution(image, kernels, stride = 1) {
  const height = image[0].length, width = image[0][0].length;
  return kernels.map(kernel => {
    const kh = kernel[0].length, kw = kernel[0][0].length, out = [];
    for (let row = 0; row + kh <= height; row += stride) {
      out.push([]);
      for (let column = 0; column + kw <= width; column += stride) {
        let sum = 0;
        for (let c = 0; c < image.length; c++)
          for (let i = 0; i < kh; i++)
            for (let j = 0; j < kw; j++)
              sum += image[c][row + i][column + j]*kernel[c][i][j];
        out.at(-1).push(sum);
      }
    }
    return out;
  });
}
if (typeof module !== 'undefined') module.exports = {convolution}; // in Node
