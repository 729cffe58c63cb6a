// Chinese is written without spaces: a query is cut into the longest words that the index knows.
/* global Search */
window.splitQuery = query => {
    const {terms, titleterms} = Search._index;
    const longest = text => {
        let end = text.length;
        while (end > 0 && !Object.hasOwn(terms, text.slice(0, end)) && !Object.hasOwn(titleterms, text.slice(0, end))) end--;
        return text.slice(0, end);
    };
    const words = chinese => {
        const found = [];
        for (let left = chinese; left;) {
            const word = longest(left);
            if (word) found.push(word);
            left = left.slice(word.length || 1);
        }
        return found.length ? found : [chinese];
    };
    return query.split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/u)
        .flatMap(part => part.split(/(\p{Script=Han}+)/u)).filter(Boolean)
        .flatMap(part => /\p{Script=Han}/u.test(part) ? words(part) : [part]);
};
