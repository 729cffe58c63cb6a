// Chinese is written without spaces: a query is cut into the longest words that the index knows.
function splitQuery(query) {
    const known = word => Search._index?.terms[word] !== undefined || Search._index?.titleterms[word] !== undefined;
    const words = [];
    for (const run of query.match(/\p{Script=Han}+|[\p{Letter}\p{Number}_\p{Emoji_Presentation}--\p{Script=Han}]+/gv) ?? []) {
        if (!/\p{Script=Han}/u.test(run)) { words.push(run); continue; }
        const found = [];
        for (let i = 0; i < run.length;) {
            let end = run.length;
            while (end > i && !known(run.slice(i, end))) end--;
            if (end > i) found.push(run.slice(i, end));
            i = Math.max(end, i + 1);
        }
        words.push(...found.length ? found : [run]);
    }
    return words;
}
