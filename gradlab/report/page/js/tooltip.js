// One box of words beside the pointer, and the same words for a screen reader.

const tooltip = {
  box: html("div", { class: "tooltip", hidden: true, "aria-hidden": "true" }),
  voice: html("div", { class: "quiet", "aria-live": "polite" }),

  // Lines at a place of the window, the first of them the heading.
  show([heading, ...lines], x, y) {
    this.box.replaceChildren(html("b", {}, heading), ...lines.map((line) => html("div", {}, line)));
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    const top = y + 16 + height > innerHeight ? y - 16 - height : y + 16;
    this.box.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  },

  say(lines) {
    this.voice.textContent = lines.join(", ");
  },

  hide() {
    this.box.hidden = true;
  },
};

// Shows what `find(x, y)` tells about a place within `element`, as {lines, ...}, or nothing.
function explained(element, find, seen = () => {}) {
  element.addEventListener("pointermove", (event) => {
    const box = element.getBoundingClientRect();
    const found = find(event.clientX - box.left, event.clientY - box.top, box);
    if (found) tooltip.show(found.lines, event.clientX, event.clientY);
    else tooltip.hide();
    seen(found);
  });
  element.addEventListener("pointerleave", () => {
    tooltip.hide();
    seen(null);
  });
}
