'use strict';
/* Timeline below the player: one row per class, ground truth above detections. */
const timeline = (() => {
  const MAX_LANES = 12; // per class; further segments share the last lane
  const TICKS = 10;
  const KIND_WORDS = {truth: 'truth', detections: 'found'};
  const MARKS = {found: '✓', missed: '○', matched: '✓', false: '✕'};
  const container = dom.byId('timeline');
  const rows = dom.byId('rows');
  const state = {video: 0, segments: [], selected: null, buttons: new Map(), cursors: [],
                 onSelect: () => {}, onSeek: () => {}};

  /* Lowest lane in which each segment, in order of start, overlaps no other. */
  function assignLanes(segments) {
    const ends = [];
    return segments.map(({start, end}) => {
      let lane = ends.findIndex((occupied) => occupied <= start);
      if (lane < 0) lane = Math.min(ends.length, MAX_LANES - 1);
      ends[lane] = Math.max(end, ends[lane] ?? -Infinity);
      return lane;
    });
  }

  function describe(segment) {
    const name = model.labels[segment.label];
    const kind = segment.kind === 'truth' ? 'ground truth' : 'prediction';
    const score = segment.score === null ? '' : `, score ${dom.number(segment.score)}`;
    const mark = segment.mark ? `, ${segment.mark}` : '';
    return `${kind} ${name}, ${dom.clock(segment.start)} to ${dom.clock(segment.end)}${score}${mark}`;
  }

  function drawSegment(segment, lane, duration) {
    const strength = segment.score === null ? 1 : 0.12 + 0.88 * model.strength(segment.score);
    const button = dom.make('button', {
      type: 'button', class: `segment ${segment.kind} ${segment.mark}`, tabindex: -1,
      'aria-label': describe(segment), title: describe(segment), 'data-key': segment.key,
      '--start': segment.start / duration, '--length': (segment.end - segment.start) / duration,
      '--lane': lane, '--strength': `${(100 * strength).toFixed(1)}%`,
      onclick: (event) => { event.stopPropagation(); select(segment, true); },
    }, segment.mark ? dom.make('span', {class: 'mark'}, MARKS[segment.mark]) : null);
    state.buttons.set(segment.key, button);
    return button;
  }

  /* The lanes of ground truth or detections of a class, and the word beside them. */
  function drawLanes(kind, segments, duration) {
    const lanes = assignLanes(segments);
    const count = 1 + Math.max(-1, ...lanes);
    const bars = segments.map((segment, i) => drawSegment(segment, lanes[i], duration));
    const word = count ? KIND_WORDS[kind] : '';
    return {word: dom.make('span', {class: 'lanes', '--lanes': count}, word),
            bars: dom.make('div', {class: 'lanes', '--lanes': count}, ...bars)};
  }

  function drawRow(label, segments, duration) {
    const parts = Object.keys(KIND_WORDS).map((kind) => drawLanes(
      kind, segments.filter((segment) => segment.kind === kind), duration));
    const cursor = dom.make('div', {class: 'cursor', 'aria-hidden': 'true'});
    state.cursors.push(cursor);
    const spans = segments.filter(({kind}) => kind === 'truth').map(({start, end}) => dom.make(
      'div', {class: 'span', '--start': start / duration, '--length': (end - start) / duration}));
    const track = dom.make('div', {class: 'track'}, ...spans, ...parts.map(({bars}) => bars),
                           cursor);
    track.addEventListener('click', (event) => state.onSeek(timeAt(track, event, duration)));
    return dom.make('div', {class: 'row', '--class-colour': model.colour(label)},
      dom.make('div', {class: 'row-name', title: model.labels[label]},
               dom.make('span', {class: 'name'}, model.labels[label]),
               dom.make('span', {class: 'words', 'aria-hidden': 'true'},
                        ...parts.map(({word}) => word))), track);
  }

  function timeAt(track, event, duration) {
    const box = track.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * duration;
  }

  /* Step of 1, 2 or 5 times a power of ten, for at most TICKS ticks on the screen. */
  function tickStep(seconds) {
    const size = 10 ** Math.floor(Math.log10(seconds / TICKS));
    return [1, 2, 5, 10].map((factor) => factor * size).find((step) => seconds / step <= TICKS);
  }

  function drawAxis(duration) {
    const step = tickStep(duration / zoom());
    const ticks = Array.from({length: Math.floor(duration / step) + 1}, (_, i) => dom.make(
      'span', {class: 'tick', '--start': i * step / duration}, dom.clock(i * step)));
    const track = dom.make('div', {class: 'track axis'}, ...ticks);
    track.addEventListener('click', (event) => state.onSeek(timeAt(track, event, duration)));
    return dom.make('div', {class: 'row', 'aria-hidden': 'true'},
                    dom.make('div', {class: 'row-name'}), track);
  }

  const zoom = () => Number(dom.byId('zoom').value);

  function draw(index) {
    const hadFocus = rows.contains(document.activeElement);
    const video = model.videos[index];
    const duration = model.duration(video);
    const isSame = index === state.video;
    Object.assign(state, {video: index, segments: model.segments(index), cursors: [],
                          buttons: new Map()});
    const key = isSame && state.selected ? state.selected.key : null;
    state.selected = state.segments.find((segment) => segment.key === key) ?? null;
    const present = [...new Set(state.segments.map(({label}) => label))].sort((a, b) => a - b);
    container.style.setProperty('--zoom', zoom());
    rows.replaceChildren(drawAxis(duration), ...present.map((label) => drawRow(
      label, state.segments.filter((segment) => segment.label === label), duration)));
    if (!present.length) {
      rows.append(dom.make('p', {class: 'quiet'}, 'No segment has this score; choose a lower one.'));
    }
    showSelected(hadFocus);
    moveCursor();
  }

  /* Let the Tab key stop at one segment: the selected one, or the first. */
  function showSelected(takeFocus) {
    const current = state.selected ?? state.segments[0];
    for (const [key, button] of state.buttons) {
      const isSelected = state.selected !== null && key === state.selected.key;
      button.classList.toggle('selected', isSelected);
      button.tabIndex = current && key === current.key ? 0 : -1;
      if (isSelected) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    }
    if (current && takeFocus) state.buttons.get(current.key).focus({preventScroll: true});
    state.onSelect(state.selected);
  }

  function select(segment, takeFocus = false) {
    state.selected = segment;
    showSelected(takeFocus);
    state.onSeek(segment.start);
    follow(segment.start);
  }

  /* Select the neighbour in time of the selected segment, or of the cursor. */
  function step(direction) {
    const {segments, selected} = state;
    if (!segments.length) return;
    let place = segments.findIndex(({key}) => selected && key === selected.key);
    if (place < 0) {
      const after = segments.findIndex(({start}) => start >= player.time() - 1e-6);
      const next = after < 0 ? segments.length : after;
      place = direction > 0 ? next - 1 : next;
    }
    const wanted = Math.min(Math.max(place + direction, 0), segments.length - 1);
    select(segments[wanted], rows.contains(document.activeElement));
  }

  function moveCursor() {
    const fraction = Math.min(player.time() / model.duration(model.videos[state.video]), 1);
    state.cursors.forEach((cursor) => cursor.style.setProperty('--start', fraction));
    if (player.isPlaying()) follow(player.time());
  }

  /* Scroll a zoomed timeline so that the time stays visible. */
  function follow(seconds) {
    const track = rows.querySelector('.track');
    if (!track || zoom() === 1) return;
    const name = rows.querySelector('.row-name').offsetWidth;
    const x = seconds / model.duration(model.videos[state.video]) * track.offsetWidth;
    const visible = container.clientWidth - name;
    if (x < container.scrollLeft || x > container.scrollLeft + 0.9 * visible) {
      container.scrollLeft = x - 0.1 * visible;
    }
  }

  rows.addEventListener('keydown', (event) => {
    const direction = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (direction === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    step(direction);
  });
  player.onTick(moveCursor);
  return {draw, step, state, describe};
})();
