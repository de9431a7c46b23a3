'use strict';
/* Data of the page, and results derived from it at the chosen tIoU and score. */
const model = (() => {
  const data = globalThis.reportData;
  const {videos, labels, numClasses, hasGroundTruth} = data;
  const DEFAULT_TIOU = 0.5;
  const DETECTIONS_PER_VIDEO = 5; // shown at first without ground truth

  const truthCounts = new Array(numClasses).fill(0);
  for (const video of videos) {
    const instances = video.truth.label.filter((label) => label < numClasses);
    instances.forEach((label) => { truthCounts[label] += 1; });
    video.numInstances = instances.length;
  }
  const numTruth = truthCounts.reduce((sum, count) => sum + count, 0);
  const scores = videos.flatMap((video) => video.detections.score);
  const scoreRange = scores.reduce(([low, high], score) => [Math.min(low, score),
                                                            Math.max(high, score)], [0, 0]);
  if (scoreRange[0] === scoreRange[1]) scoreRange[1] = scoreRange[0] + 1;

  const prepared = hasGroundTruth
    ? videos.map((video) => matching.prepareVideo(video, numClasses)) : [];
  const ranked = hasGroundTruth ? matching.rankClasses(videos, numClasses) : [];
  const state = {tiou: DEFAULT_TIOU, score: 0, matches: [], curves: []};

  function setTiou(tiou) {
    state.tiou = tiou;
    if (!hasGroundTruth) return;
    state.matches = prepared.map((video) => matching.matchVideo(video, tiou));
    state.curves = matching.classCurves(ranked, state.matches, truthCounts);
  }

  /* First position of the score slider: the best F1, or a number of detections per video. */
  function suggestedScore() {
    if (hasGroundTruth) return matching.bestScore(state.curves, numTruth);
    const sorted = [...scores].sort((a, b) => b - a);
    return sorted[Math.min(sorted.length - 1, DETECTIONS_PER_VIDEO * videos.length)] ?? 0;
  }

  /* Strength of a colour: 0 at the lowest score of the file (or 0), 1 at the highest. */
  function strength(score) {
    return (score - scoreRange[0]) / (scoreRange[1] - scoreRange[0]);
  }

  function duration(video) {
    return video.duration || Math.max(1, ...video.truth.end, ...video.detections.end);
  }

  /* Mark of ground truth ('found', 'missed') or of a detection ('matched', 'false'), or ''. */
  function mark(index, kind, row) {
    if (!hasGroundTruth) return '';
    const match = state.matches[index];
    if (kind === 'detections') return match.truthOf[row] >= 0 ? 'matched' : 'false';
    if (videos[index].truth.label[row] >= numClasses) return '';
    const detection = match.detectionOf[row];
    const isShown = detection >= 0 && videos[index].detections.score[detection] >= state.score;
    return isShown ? 'found' : 'missed';
  }

  /* Segments of a video, by start: {key, kind, row, start, end, label, score, mark}. */
  function segments(index) {
    const rows = [];
    for (const kind of ['truth', 'detections']) {
      const table = videos[index][kind];
      table.label.forEach((label, row) => {
        const score = kind === 'truth' ? null : table.score[row];
        if (score === null || score >= state.score) {
          rows.push({key: `${kind}-${row}`, kind, row, start: table.start[row],
                     end: table.end[row], label, score, mark: mark(index, kind, row)});
        }
      });
    }
    return rows.sort((a, b) => a.start - b.start || (a.kind < b.kind ? 1 : -1));
  }

  const counts = (index) => matching.countMarks(videos[index], state.matches[index], state.score);
  const colour = (label) => (label < numClasses
    ? data.palette[label % data.palette.length] : data.otherColour);

  setTiou(DEFAULT_TIOU);
  state.score = suggestedScore();
  return {data, videos, labels, numClasses, hasGroundTruth, truthCounts, numTruth, scoreRange,
          prepared, state, setTiou, suggestedScore, strength, duration, mark, segments, counts,
          colour};
})();
