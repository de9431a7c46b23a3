'use strict';
/* Table of classes and precision-recall curves, at the chosen tIoU and score. */
const charts = (() => {
  const SIZE = {width: 440, height: 320, left: 44, right: 10, top: 10, bottom: 40};
  const DASHES = ['', '7 4', '2 3']; // tell classes of one colour apart
  const fixed = model.hasGroundTruth ? Object.keys(model.data.evaluation.mAP) : [];
  const state = {label: null, column: 'name', isDescending: false};

  function classRows() {
    const {per_class: perClass} = model.data.evaluation;
    return model.state.curves.map((curve, label) => {
      const name = model.labels[label];
      const point = matching.operatingPoint(curve, model.truthCounts[label], model.state.score);
      const row = {label, name, instances: model.truthCounts[label], shown: point.count,
                   live: curve.averagePrecision, precision: point.precision,
                   recall: point.recall};
      fixed.forEach((tiou) => { row[tiou] = perClass[name][tiou]; });
      row.mean = fixed.reduce((sum, tiou) => sum + row[tiou], 0) / fixed.length;
      return row;
    });
  }

  function columns() {
    const tiou = model.state.tiou.toFixed(2);
    return [['name', 'class'], ['instances', 'instances'], ['live', `AP at ${tiou}`],
            ...fixed.map((name) => [name, name]), ['mean', 'mean'], ['shown', 'shown'],
            ['precision', 'precision'], ['recall', 'recall']];
  }

  function compare(a, b) {
    const [x, y] = [a[state.column], b[state.column]];
    const order = typeof x === 'string' ? x.localeCompare(y)
      : (Number.isNaN(x) ? -1 : x) - (Number.isNaN(y) ? -1 : y);
    return (state.isDescending ? -order : order) || a.label - b.label;
  }

  function header([key, title]) {
    const isSorted = key === state.column;
    const direction = state.isDescending ? 'descending' : 'ascending';
    const sort = () => {
      state.isDescending = isSorted ? !state.isDescending : key !== 'name';
      state.column = key;
      draw();
      document.querySelector(`#classes [data-column="${CSS.escape(key)}"]`).focus();
    };
    const arrow = {ascending: ' ▲', descending: ' ▼'}[direction];
    return dom.make('th', {scope: 'col', 'aria-sort': isSorted ? direction : 'none'},
      dom.make('button', {type: 'button', class: 'plain', 'data-column': key, onclick: sort},
               title + (isSorted ? arrow : '')));
  }

  function cell(row, key) {
    if (key === 'name') return nameCell(row);
    const isCount = key === 'instances' || key === 'shown';
    const text = isCount ? row[key] : dom.percent(row[key]);
    return dom.make('td', key === 'live' ? {class: 'bar', '--value': row.live} : {}, text);
  }

  function nameCell(row) {
    const choose = () => {
      state.label = state.label === row.label ? null : row.label;
      draw();
      document.querySelector(`#classes [data-label="${row.label}"]`).focus();
    };
    return dom.make('th', {scope: 'row'}, dom.make('button', {
      type: 'button', class: 'plain swatch', 'data-label': row.label, onclick: choose,
      'aria-pressed': state.label === row.label, '--class-colour': model.colour(row.label),
    }, row.name));
  }

  function meanRow(rows, names) {
    const mean = (key) => rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
    const total = (key) => rows.reduce((sum, row) => sum + row[key], 0);
    const texts = names.map(([key]) => {
      if (key === 'instances' || key === 'shown') return total(key);
      return key === 'precision' || key === 'recall' ? '' : dom.percent(mean(key));
    });
    return dom.make('tr', {}, dom.make('th', {scope: 'row'}, `mean of ${rows.length}`),
                    ...texts.slice(1).map((text) => dom.make('td', {}, text)));
  }

  function drawTable(rows) {
    const names = columns();
    const body = [...rows].sort(compare).map((row) => dom.make(
      'tr', {class: row.label === state.label ? 'chosen' : ''},
      ...names.map(([key]) => cell(row, key))));
    dom.byId('classes').replaceChildren(
      dom.make('thead', {}, dom.make('tr', {}, ...names.map(header))),
      dom.make('tbody', {}, ...body), dom.make('tfoot', {}, meanRow(rows, names)));
  }

  const x = (recall) => SIZE.left + recall * (SIZE.width - SIZE.left - SIZE.right);
  const y = (precision) => SIZE.top + (1 - precision) * (SIZE.height - SIZE.top - SIZE.bottom);

  /* Step curve: each precision extends back to the previous recall; the area below is the AP. */
  function path({recall, precision}) {
    if (!recall.length) return '';
    const steps = recall.map((value, i) => `V${y(precision[i]).toFixed(2)}H${x(value).toFixed(2)}`);
    return `M${x(0)} ${y(precision[0]).toFixed(2)}${steps.join('')}V${y(0)}`;
  }

  function drawGrid() {
    const ticks = [0, 0.25, 0.5, 0.75, 1];
    const text = (attributes, value) => dom.svg('text', attributes, value);
    return [
      ...ticks.flatMap((t) => [
        dom.svg('path', {class: 'grid', d: `M${x(0)} ${y(t)}H${x(1)}M${x(t)} ${y(0)}V${y(1)}`}),
        text({x: x(t), y: y(0) + 16, 'text-anchor': 'middle'}, 100 * t),
        text({x: x(0) - 6, y: y(t) + 4, 'text-anchor': 'end'}, 100 * t)]),
      text({x: x(0.5), y: SIZE.height - 6, 'text-anchor': 'middle'}, 'recall (%)'),
      text({x: 12, y: y(0.5), 'text-anchor': 'middle', transform: `rotate(-90 12 ${y(0.5)})`},
           'precision (%)')];
  }

  function drawCurve(row) {
    const isChosen = row.label === state.label;
    const kind = state.label === null ? '' : isChosen ? ' chosen' : ' faint';
    const curve = model.state.curves[row.label];
    const dash = DASHES[Math.floor(row.label / model.data.palette.length) % DASHES.length];
    const line = dom.svg('path', {d: path(curve), 'stroke-dasharray': dash, class: 'line'},
      dom.svg('title', {}, `${row.name}: AP ${dom.percent(row.live)} %`));
    const point = Number.isFinite(row.precision) && kind !== ' faint'
      ? dom.svg('circle', {cx: x(row.recall), cy: y(row.precision), r: isChosen ? 5 : 3.5}) : null;
    return dom.svg('g', {class: `curve${kind}`, '--class-colour': model.colour(row.label)},
                   line, point);
  }

  function drawCurves(rows) {
    const order = [...rows].sort((a, b) => (a.label === state.label) - (b.label === state.label));
    const chosen = rows[state.label];
    const title = chosen ? chosen.name : `all ${rows.length} classes`;
    dom.byId('curves-note').textContent = `${title} at tIoU ${model.state.tiou.toFixed(2)}, `
      + 'precision interpolated; dots: at the chosen score.';
    dom.byId('curves').replaceChildren(dom.svg('svg', {
      viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: 'img',
      'aria-label': `Precision-recall curves of ${title}`}, ...drawGrid(), ...order.map(drawCurve)));
  }

  function draw() {
    if (!model.hasGroundTruth) return;
    const rows = classRows();
    drawTable(rows);
    drawCurves(rows);
  }

  return {draw, state, classRows};
})();
