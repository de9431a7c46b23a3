'use strict';
/* Connects the parts: list of videos, sliders, details, keys. */
(() => {
  const {state} = model;
  const OPEN_AFTER_EDIT = new Set(['INPUT', 'SELECT', 'TEXTAREA']);
  const SEEK_SECONDS = 1;
  const ORDERS = {
    name: ['name', null],
    missed: ['most missed', (counts) => -counts.missed],
    false: ['most false', (counts) => -counts.false],
    matched: ['most matched', (counts) => -counts.matched],
  };
  const list = dom.byId('videos');
  const collator = new Intl.Collator('en', {numeric: true});
  const names = model.videos.map(({name}) => name);
  const searched = model.videos.map((video) => [
    video.name, ...new Set(video.truth.label.map((label) => model.labels[label]))]
    .join('\n').toLowerCase());
  const items = model.videos.map((video, index) => dom.make('li', {
    role: 'option', id: `video-${index}`, 'aria-selected': 'false', tabindex: -1,
    onclick: () => openVideo(index),
  }, dom.make('span', {class: 'name', title: video.name}, video.name), dom.make('span', {class: 'tally'})));
  let current = -1;
  let listed = [];

  function drawList() {
    const query = dom.byId('filter').value.toLowerCase().trim();
    const counts = model.hasGroundTruth ? names.map((_, index) => model.counts(index)) : [];
    const key = ORDERS[dom.byId('order').value][1];
    listed = [...names.keys()].filter((index) => searched[index].includes(query)).sort((a, b) =>
      (key ? key(counts[a]) - key(counts[b]) : 0) || collator.compare(names[a], names[b]));
    counts.forEach((count, index) => drawTally(items[index].lastChild, count));
    list.replaceChildren(...listed.map((index) => items[index]));
    dom.byId('filter-count').textContent = `${listed.length} of ${names.length} video${names.length === 1 ? '' : 's'}`;
    markCurrent();
  }

  function drawTally(element, {matched, missed, false: wrong}) {
    const text = `${matched} matched, ${missed} missed, ${wrong} false`;
    element.title = text;
    element.replaceChildren(...[['✓', matched], ['○', missed], ['✕', wrong]].map(
      ([mark, count]) => dom.make('span', {class: count ? '' : 'none'}, `${mark}${count}`)));
  }

  function markCurrent() {
    const stop = listed.includes(current) ? current : listed[0];
    items.forEach((item, index) => {
      item.setAttribute('aria-selected', String(index === current));
      item.tabIndex = index === stop ? 0 : -1;
    });
  }

  function openVideo(index, takeFocus = false) {
    if (index !== current) {
      current = index;
      timeline.state.selected = null;
      player.load(model.videos[index]);
      dom.byId('video-name').textContent = names[index];
      dom.byId('timeline').scrollLeft = 0;
      drawVideo();
    }
    markCurrent();
    if (takeFocus) items[index].focus();
    else items[index].scrollIntoView({block: 'nearest'});
  }

  function stepVideo(direction, takeFocus = false) {
    if (!listed.length) return;
    const place = listed.indexOf(current);
    const next = place < 0 ? 0 : Math.min(Math.max(place + direction, 0), listed.length - 1);
    openVideo(listed[next], takeFocus);
  }

  function drawVideo() {
    timeline.draw(current);
    if (model.hasGroundTruth) {
      const {matched, missed, false: wrong} = model.counts(current);
      dom.byId('video-counts').replaceChildren(
        ...[['✓', matched, 'matched'], ['○', missed, 'missed'], ['✕', wrong, 'false']].map(
          ([mark, count, what]) => dom.make('span', {class: what}, `${mark} ${count} ${what}`)));
    } else {
      dom.byId('video-counts').textContent = `${timeline.state.segments.length} predictions shown`;
    }
    drawTime();
  }

  function drawTime() {
    const now = player.time();
    dom.byId('time').textContent = `${dom.clock(now)} / ${dom.clock(player.duration())}`;
    dom.byId('play').textContent = player.isPlaying() ? 'Pause' : 'Play';
    const running = timeline.state.segments.filter(({start, end}) => start <= now && now < end);
    dom.byId('now').replaceChildren(...running.map((segment) => dom.make('span', {
      class: `chip ${segment.kind} ${segment.mark}`,
      '--class-colour': model.colour(segment.label)}, nowText(segment))));
  }

  const nowText = ({kind, label, score}) => (kind === 'truth'
    ? `${model.labels[label]} (truth)` : `${model.labels[label]} ${dom.number(score)}`);

  /* Reason for the mark of the selected segment. */
  function reason({kind, row, label, mark}) {
    const match = state.matches[current];
    const {candidates} = model.prepared[current];
    const tiouOf = (detection, truth) =>
      candidates[detection].find((candidate) => candidate.row === truth).tiou.toFixed(3);
    if (mark === 'matched') {
      return `Matched with ground truth at tIoU ${tiouOf(row, match.truthOf[row])}.`;
    }
    if (kind === 'truth') return reasonOfTruth(row, label, match.detectionOf[row], tiouOf);
    const [best] = candidates[row];
    if (!best) return `False: no ground truth of its class overlaps it. ${otherTruth(row)}`;
    const tiou = best.tiou.toFixed(3);
    return best.tiou < state.tiou
      ? `False: the best ground truth of its class has tIoU ${tiou} only.`
      : `False: its best ground truth (tIoU ${tiou}) is matched with a higher score.`;
  }

  /* Ground truth of another class that a detection overlaps. */
  function otherTruth(row) {
    const {truth, detections} = model.videos[current];
    const overlaps = truth.label.map((_, other) => matching.temporalIou(
      detections.start[row], detections.end[row], truth.start[other], truth.end[other]));
    const best = overlaps.indexOf(Math.max(...overlaps));
    return best >= 0 && overlaps[best] > 0
      ? `It overlaps ${model.labels[truth.label[best]]} with tIoU ${overlaps[best].toFixed(3)}.` : '';
  }

  function reasonOfTruth(row, label, detection, tiouOf) {
    if (label >= model.numClasses) return 'This label is not a class; it is not scored.';
    if (detection < 0) return 'Missed: no unmatched detection of its class reaches the tIoU.';
    const score = dom.number(model.videos[current].detections.score[detection]);
    const found = `a detection with score ${score} at tIoU ${tiouOf(detection, row)}`;
    return model.mark(current, 'truth', row) === 'found' ? `Found by ${found}.`
      : `Missed at this score; ${found} would find it.`;
  }

  function drawDetails(segment) {
    const details = dom.byId('details');
    if (!segment) {
      details.textContent = 'Choose a segment to jump to it and to see the reason for its mark.';
      return;
    }
    const kind = segment.kind === 'truth' ? 'Ground truth' : 'Prediction';
    const score = segment.score === null ? '' : `, score ${dom.number(segment.score)}`;
    const length = (segment.end - segment.start).toFixed(1);
    details.replaceChildren(
      dom.make('strong', {class: 'swatch', '--class-colour': model.colour(segment.label)},
               `${kind}: ${model.labels[segment.label]}`),
      dom.make('span', {}, `${dom.clock(segment.start)} to ${dom.clock(segment.end)} `
        + `(${length} s)${score}`),
      model.hasGroundTruth ? dom.make('span', {}, reason(segment)) : '');
  }

  let isScheduled = false;
  function redraw() {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      drawSliders();
      drawList();
      drawVideo();
      charts.draw();
    });
  }

  function drawSliders() {
    const [score, tiou] = [dom.byId('score'), dom.byId('tiou')];
    score.value = state.score;
    tiou.value = state.tiou;
    dom.byId('score-value').textContent = dom.number(state.score);
    dom.byId('tiou-value').textContent = state.tiou.toFixed(2);
    score.setAttribute('aria-valuetext', dom.number(state.score));
  }

  function setScore(score) {
    state.score = Math.min(Math.max(score, model.scoreRange[0]), model.scoreRange[1]);
    redraw();
  }

  function setTiou(tiou) { // the decimals that Python has, never 0.6000000000000001
    model.setTiou(Number(Math.min(Math.max(tiou, 0.05), 0.95).toFixed(2)));
    redraw();
  }

  function setZoom(direction) {
    const zoom = dom.byId('zoom');
    const wanted = zoom.selectedIndex + direction;
    zoom.selectedIndex = Math.min(Math.max(wanted, 0), zoom.options.length - 1);
    timeline.draw(current);
  }

  const scoreStep = () => (model.scoreRange[1] - model.scoreRange[0]) / 50;
  const seekBy = (seconds) => player.seek(player.time() + seconds);
  const KEYS = {
    k: () => player.toggle(), ' ': () => player.toggle(),
    n: () => stepVideo(1), p: () => stepVideo(-1),
    '.': () => timeline.step(1), ',': () => timeline.step(-1),
    ArrowLeft: () => seekBy(-SEEK_SECONDS), ArrowRight: () => seekBy(SEEK_SECONDS),
    '+': () => setZoom(1), '=': () => setZoom(1), '-': () => setZoom(-1),
    '[': () => setScore(state.score - scoreStep()), ']': () => setScore(state.score + scoreStep()),
    '{': () => setTiou(state.tiou - 0.05), '}': () => setTiou(state.tiou + 0.05),
    '/': () => dom.byId('filter').focus(), '?': () => dom.byId('help').showModal(),
  };

  function onKey(event) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const {target} = event;
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (OPEN_AFTER_EDIT.has(target.tagName) || dom.byId('help').open) return;
    if (event.key === ' ' && target.tagName === 'BUTTON') return; // it presses the button
    event.preventDefault();
    action();
  }

  function onListKey(event) {
    const direction = {ArrowDown: 1, ArrowUp: -1}[event.key];
    const place = {Home: 0, End: listed.length - 1}[event.key];
    if (direction !== undefined) stepVideo(direction, true);
    else if (place !== undefined && listed.length) openVideo(listed[place], true);
    else if (event.key === 'Enter') openVideo(listed.includes(current) ? current : listed[0], true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function drawSummary() {
    const {evaluation, title, notes} = model.data;
    document.title = title;
    dom.byId('title').textContent = title;
    dom.byId('notes').replaceChildren(...notes.map((note) => dom.make('p', {}, note)));
    const figures = [['videos', names.length]];
    if (evaluation) {
      figures.push(['instances', evaluation.num_ground_truth],
                   ['detections', evaluation.num_predictions],
                   ...Object.entries(evaluation.mAP).map(
                     ([tiou, value]) => [`mAP ${tiou}`, dom.percent(value)]),
                   ['average mAP', dom.percent(evaluation.average_mAP)]);
    }
    dom.byId('summary').replaceChildren(...figures.map(([name, value]) => dom.make(
      'div', {}, dom.make('dt', {}, name), dom.make('dd', {}, value))));
  }

  function drawLegend() {
    const entries = model.hasGroundTruth
      ? [['truth found', '✓', 'ground truth, found'], ['truth missed', '○', 'ground truth, missed'],
         ['detections matched', '✓', 'prediction, matched'],
         ['detections false', '✕', 'prediction, false']]
      : [['detections', '', 'prediction']];
    dom.byId('legend').replaceChildren(
      ...entries.map(([kind, mark, text]) => dom.make(
        'li', {}, dom.make('span', {class: `key segment ${kind}`, '--strength': '70%'},
                           mark ? dom.make('span', {class: 'mark'}, mark) : null), text)),
      dom.make('li', {}, dom.make('span', {class: 'key ramp'}), 'paler: lower score'));
  }

  function connect() {
    const onClick = (id, action) => dom.byId(id).addEventListener('click', action);
    const [score, tiou, theme] = ['score', 'tiou', 'theme'].map(dom.byId);
    [score.min, score.max] = model.scoreRange;
    score.addEventListener('input', () => setScore(Number(score.value)));
    tiou.addEventListener('input', () => setTiou(Number(tiou.value)));
    onClick('score-reset', () => setScore(model.suggestedScore()));
    dom.byId('filter').addEventListener('input', drawList);
    dom.byId('order').addEventListener('change', drawList);
    dom.byId('zoom').addEventListener('change', () => timeline.draw(current));
    dom.byId('rate').addEventListener('change', ({target}) => player.setRate(Number(target.value)));
    theme.addEventListener('change', () => { document.documentElement.dataset.theme = theme.value; });
    onClick('play', player.toggle);
    onClick('previous-video', () => stepVideo(-1));
    onClick('next-video', () => stepVideo(1));
    onClick('previous-segment', () => timeline.step(-1));
    onClick('next-segment', () => timeline.step(1));
    onClick('help-button', () => dom.byId('help').showModal());
    list.addEventListener('keydown', onListKey);
    document.addEventListener('keydown', onKey);
    Object.assign(timeline.state, {onSelect: drawDetails, onSeek: player.seek});
    player.onTick(drawTime);
  }

  function start() {
    const orders = model.hasGroundTruth ? Object.entries(ORDERS) : [['name', ORDERS.name]];
    dom.byId('order').replaceChildren(...orders.map(([key, [text]]) => dom.make('option', {value: key}, text)));
    document.body.classList.toggle('without-truth', !model.hasGroundTruth);
    dom.byId('score-reset').hidden = !model.hasGroundTruth;
    connect();
    drawSummary();
    drawLegend();
    drawSliders();
    drawList();
    if (listed.length) openVideo(listed[0]);
    charts.draw();
    errors.draw(model.data.errorAnalysis);
    document.body.dataset.ready = 'true';
  }

  start();
})();
