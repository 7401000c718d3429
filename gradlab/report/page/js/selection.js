// What the reader has chosen: values of factors that are shown, one group, and the factor that colours lines.

const selection = {
  off: DATA.factors.map(() => new Set()),
  chosen: null,
  colourBy: -1,
  listeners: [],

  shows(group) {
    return DATA.factors.every((factor, place) => !this.off[place].has(factor.of[group]));
  },

  visible() {
    return LABELS.map((_, group) => group).filter((group) => this.shows(group));
  },

  // Whether a value of a factor of that name is shown; of any other name everything is.
  showsValue(name, text) {
    const place = DATA.factors.findIndex((factor) => factor.name === name || factor.name.endsWith(`.${name}`));
    if (place < 0) return true;
    const value = DATA.factors[place].values.indexOf(text);
    return value < 0 || !this.off[place].has(value);
  },

  choose(group) {
    this.chosen = this.chosen === group ? null : group;
    this.changed();
  },

  onChange(listener) {
    this.listeners.push(listener);
  },

  changed() {
    for (const listener of this.listeners) listener();
  },
};

// How lines are coloured: group -> {key, class, colour, mark}, and the legend.
function colouring() {
  const visible = selection.visible();
  const factor = DATA.factors[selection.colourBy];
  if (!factor) {
    const named = visible.length <= NAMED;
    const place = new Map(visible.map((group, number) => [group, number]));
    const style = (number) => ({ class: named ? `s${number}` : "", mark: named ? MARKS[number] : null });
    return {
      of: (group) => style(place.get(group)),
      legend: named ? visible.map((group) => ({ text: LABELS[group], group, ...style(place.get(group)) })) : [],
    };
  }
  const values = factor.values.map((text, value) => ({ text, value }));
  const few = values.length <= NAMED;
  const span = Math.max(values.length - 1, 1);
  const style = (value) =>
    few
      ? { class: `s${value}`, mark: MARKS[value] }
      : { class: "", colour: rgb(between(VIRIDIS, 0.92 * (value / span))), mark: null };
  const used = new Set(visible.map((group) => factor.of[group]));
  const shown = values.filter(({ value }) => used.has(value));
  const told = few ? shown : evenly(shown.length, 6).map((place) => shown[place]);
  return {
    of: (group) => style(factor.of[group]),
    legend: told.map(({ text, value }) => ({ text: `${factor.name} ${text}`, ...style(value) })),
  };
}

// The factor that colours lines at first: none where every group has a colour of its own.
function bestFactor() {
  if (LABELS.length <= NAMED) return -1;
  const counts = DATA.factors.map((factor) => factor.values.length);
  const fits = (place) => counts[place] >= 2 && counts[place] <= NAMED;
  const places = counts.map((_, place) => place).filter(fits);
  if (!places.length) return counts.findIndex((count) => count >= 2);
  return places.find((place) => !DATA.factors[place].numbers) ?? places[0];
}

selection.colourBy = bestFactor();
