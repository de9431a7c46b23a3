'use strict';
/* Error analysis of sbp_tad/evaluation/error_analysis.py; hidden without ground truth. */
const errors = (() => {
  const KINDS = ['true_positive', 'double_detection', 'wrong_label', 'localization', 'confusion',
                 'background'];
  const COLOURS = ['#228833', '#66CCEE', '#AA3377', '#4477AA', '#EE6677', '#999999'];
  const MEANINGS = {
    true_positive: 'matched', double_detection: 'correct, but the instance is already matched',
    wrong_label: 'correct place, wrong label',
    localization: 'correct label, too little overlap', confusion: 'wrong label, too little overlap',
    background: 'overlaps nothing'};
  const UNITS = {length: ' s', coverage: '', num_instances: ''};
  const TITLES = {length: 'length', coverage: 'coverage (share of its video)',
                  num_instances: 'instances in its video'};
  const words = (name) => name.replaceAll('_', ' ');

  function figure(title, note, ...content) {
    return dom.make('figure', {}, dom.make('h3', {}, title),
                    dom.make('p', {class: 'quiet'}, note), ...content);
  }

  /* A line of text and a bar; values are fractions, the bar is full at `full`. */
  function bar(name, value, full, colour, note = '') {
    const isKnown = value !== null;
    return dom.make('div', {class: 'bar-row', title: note},
      dom.make('span', {}, name),
      dom.make('span', {class: 'bar-track', 'aria-hidden': 'true'}, dom.make('span', {
        class: 'bar-fill', '--class-colour': colour,
        '--value': isKnown ? Math.max(0, Math.min(1, value / full)) : 0})),
      dom.make('span', {class: 'bar-value'}, isKnown ? dom.percent(value) : 'none'));
  }

  function profile(rows) {
    const columns = rows.map((row) => dom.make('div', {class: 'stack'},
      dom.make('div', {class: 'stack-bars'}, ...KINDS.map((kind, i) => dom.make('div', {
        class: 'stack-part', '--value': row[kind] ?? 0, '--class-colour': COLOURS[i],
        title: `${row.top}: ${dom.percent(row[kind] ?? NaN)} % ${words(kind)}`}))),
      dom.make('span', {}, row.top)));
    const legend = dom.make('ul', {class: 'legend'}, ...KINDS.map((kind, i) => dom.make(
      'li', {class: 'swatch', '--class-colour': COLOURS[i], title: MEANINGS[kind]},
      `${words(kind)} ${dom.percent(rows[0][kind] ?? NaN)}`)));
    return figure('Kinds of detections',
      'Share of each kind by rank, in multiples of the number G of instances of a class; '
      + 'the numbers are for the first G (%).', dom.make('div', {class: 'stacks'}, ...columns), legend);
  }

  function gains(gain) {
    const kinds = KINDS.slice(1);
    const full = Math.max(1e-9, ...kinds.map((kind) => gain[kind]));
    return figure('Gain in average mAP', 'Points gained by removing all detections of a kind.',
      ...kinds.map((kind) => bar(words(kind), gain[kind], full, COLOURS[KINDS.indexOf(kind)],
                                 MEANINGS[kind])));
  }

  function range({above, up_to: upTo}, unit) {
    return upTo === null ? `above ${above}${unit}` : `${above} to ${upTo}${unit}`;
  }

  function byBucket(title, note, values, buckets, colour) {
    const full = Math.max(1e-9, ...Object.values(values).flatMap((row) => Object.values(row)));
    const isKnown = ([, row]) => Object.values(row).some((value) => value !== null);
    const groups = Object.entries(values).filter(isKnown).map(([name, row]) => dom.make('div', {class: 'bars'},
      dom.make('h4', {}, TITLES[name] ?? words(name)),
      ...Object.entries(row).map(([bucket, value]) => {
        const {num_instances: count, ...borders} = buckets[name][bucket];
        const span = range(borders, UNITS[name] ?? '');
        return bar(`${bucket}: ${span}`, value, full, colour, `${count} instance${count === 1 ? '' : 's'}`);
      })));
    return figure(title, note, ...groups);
  }

  function draw(analysis) {
    dom.byId('errors').hidden = !analysis;
    if (!analysis) return;
    const {average_normalized_mAP: map, false_negative_rate: rate, buckets} = analysis;
    const tious = analysis.tiou_thresholds.map((tiou) => tiou.toFixed(2)).join(', ');
    dom.byId('errors-note').textContent = `As in DETAD, averaged over tIoU ${tious}; `
      + 'the sliders do not change it.';
    dom.byId('errors-body').replaceChildren(
      profile(analysis.false_positive_profile), gains(analysis.map_gain),
      byBucket('mAP by kind of instance',
               `Normalised average mAP (%) on the instances of a kind; all: ${dom.percent(map)}.`,
               analysis.sensitivity, buckets, COLOURS[3]),
      byBucket('Missed instances', `Share of the instances (%) that no detection matches; all: ${dom.percent(rate)}.`,
               analysis.false_negatives, buckets, COLOURS[4]));
  }

  return {draw};
})();
