// The text that is being read aloud, each word marked while it is heard.

const MARKS_BEFORE = /[^\s\p{L}\p{M}\p{N}]*$/u, MARKS_AFTER = /^[^\s\p{L}\p{M}\p{N}]*/u; // go with their word

export class Reading {
  /** @param {HTMLElement} place is filled; `seek(seconds)` is called for a word that is clicked. */
  constructor(place, seek) {
    this.place = place;
    this.words = [];
    this.marked = -1;
    place.addEventListener("click", (event) => {
      const word = this.words.find(({ node }) => node === event.target);
      if (word) seek(word.start);
    });
  }

  load(text, language) {
    this.text = text;
    this.letters = /[\ud800-\udfff]/.test(text) ? Array.from(text) : null; // the server counts characters, not UTF-16 units
    this.words = [];
    this.marked = -1;
    this.taken = 0;
    this.rest = document.createTextNode(text);
    this.place.replaceChildren(this.rest);
    this.place.lang = language || "";
    this.place.classList.toggle("timed", false);
  }

  /** Words in the order of the text, {word, start, end, offset}; one whose place is not found is left out. */
  add(words) {
    for (const { word, start, end, offset } of words) {
      const at = this.#find(word, offset);
      if (at < 0) continue;
      const from = at - MARKS_BEFORE.exec(this.text.slice(this.taken, at))[0].length;
      const to = at + word.length + MARKS_AFTER.exec(this.text.slice(at + word.length))[0].length;
      const node = document.createElement("span");
      node.textContent = this.text.slice(from, to);
      this.rest.before(this.text.slice(this.taken, from), node);
      this.taken = to;
      this.rest.data = this.text.slice(this.taken);
      this.words.push({ node, start, end });
    }
    this.place.classList.toggle("timed", this.words.length > 0);
  }

  #find(word, offset) {
    if (!word) return -1;
    if (offset === null || offset === undefined) return this.text.indexOf(word, this.taken);
    const at = this.letters ? this.letters.slice(0, offset).join("").length : offset;
    return at >= this.taken && this.text.startsWith(word, at) ? at : this.text.indexOf(word, this.taken);
  }

  /** Marks the word heard at `seconds`, and what was heard before it. */
  show(seconds) {
    let low = 0, high = this.words.length; // the words that began: [0, low)
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.words[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    const now = low && seconds < this.words[low - 1].end ? low - 1 : -1;
    if (now === this.marked && low === this.heard) return;
    this.words.forEach(({ node }, n) => {
      node.classList.toggle("now", n === now);
      node.classList.toggle("heard", n < low);
    });
    [this.marked, this.heard] = [now, low];
    if (now >= 0) this.#keepInView(this.words[now].node);
  }

  /** Scrolls the text itself, never the page. */
  #keepInView(node) {
    const place = this.place, top = node.offsetTop - place.offsetTop;
    if (top < place.scrollTop || top + node.offsetHeight > place.scrollTop + place.clientHeight) {
      place.scrollTop = top - place.clientHeight / 3;
    }
  }
}
