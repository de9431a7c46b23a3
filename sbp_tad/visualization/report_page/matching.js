'use strict';
/* Matching of detections with ground truth; average precision, curves and counts from it.
 *
 * The rule is that of sbp_tad/evaluation/average_precision.py (ActivityNet): in order of score,
 * each detection takes the free ground truth of its video and class with the highest tIoU, if
 * that reaches the threshold. Of equal ones it takes the one with the nearest start or end, then
 * the earlier one. A match never depends on detections with lower scores. So hiding detections
 * changes no mark, and one matching is valid at every position of the score slider.
 *
 * A video is {truth: {start, end, label}, detections: {start, end, score, label}}, columns of
 * equal length; labels below numClasses are classes. Seconds and fractions throughout.
 */
const matching = (() => {
  function temporalIou(start, end, otherStart, otherEnd) {
    const shared = Math.max(Math.min(end, otherEnd) - Math.max(start, otherStart), 0);
    return shared > 0 ? shared / ((end - start) + (otherEnd - otherStart) - shared) : 0;
  }

  /* Indices by decreasing score; sort() is stable, so equal scores stay in file order. */
  function byScore(scores) {
    return Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
  }

  function groupByLabel(labels, numClasses) {
    const groups = Array.from({length: numClasses}, () => []);
    labels.forEach((label, index) => { if (label < numClasses) groups[label].push(index); });
    return groups;
  }

  /* For each detection the ground truth of its class that it overlaps, best first. */
  function candidatesOf(video, numClasses) {
    const {truth, detections} = video;
    const ofClass = groupByLabel(truth.label, numClasses);
    return detections.label.map((label, index) => {
      const start = detections.start[index];
      const end = detections.end[index];
      const found = [];
      for (const row of label < numClasses ? ofClass[label] : []) {
        const tiou = temporalIou(start, end, truth.start[row], truth.end[row]);
        if (tiou > 0) {
          const gap = Math.min(Math.abs(start - truth.start[row]), Math.abs(end - truth.end[row]));
          found.push({row, tiou, gap});
        }
      }
      return found.sort((a, b) => b.tiou - a.tiou || a.gap - b.gap || a.row - b.row);
    });
  }

  /* Data of one video that is the same at every threshold. */
  function prepareVideo(video, numClasses) {
    return {order: byScore(video.detections.score), candidates: candidatesOf(video, numClasses),
            numTruth: video.truth.label.length};
  }

  /* truthOf[detection] and detectionOf[truth], -1 where there is none. */
  function matchVideo(prepared, tiouThreshold) {
    const truthOf = new Int32Array(prepared.order.length).fill(-1);
    const detectionOf = new Int32Array(prepared.numTruth).fill(-1);
    for (const detection of prepared.order) {
      for (const {row, tiou} of prepared.candidates[detection]) {
        if (tiou < tiouThreshold) break;
        if (detectionOf[row] < 0) {
          detectionOf[row] = detection;
          truthOf[detection] = row;
          break;
        }
      }
    }
    return {truthOf, detectionOf};
  }

  /* Detections of all videos per class, best first: {video, row, score} as columns. */
  function rankClasses(videos, numClasses) {
    const ranked = Array.from({length: numClasses}, () => ({video: [], row: [], score: []}));
    videos.forEach(({detections}, video) => detections.label.forEach((label, row) => {
      ranked[label].video.push(video);
      ranked[label].row.push(row);
      ranked[label].score.push(detections.score[row]);
    }));
    return ranked.map(({video, row, score}) => {
      const order = byScore(score);
      const take = (column) => order.map((index) => column[index]);
      return {video: take(video), row: take(row), score: take(score)};
    });
  }

  /* The interpolated curve of one class: recall and precision at every hit, and its area. */
  function precisionRecall(hits, numTruth) {
    const recall = [];
    const precision = [];
    hits.forEach((hit, rank) => {
      if (hit) {
        precision.push((precision.length + 1) / (rank + 1));
        recall.push(precision.length / numTruth);
      }
    });
    for (let i = precision.length - 2; i >= 0; i -= 1) {
      precision[i] = Math.max(precision[i], precision[i + 1]);
    }
    const area = precision.reduce((sum, value) => sum + value, 0) / numTruth;
    return {recall, precision, averagePrecision: area};
  }

  /* Curves of all classes at the threshold that made the matches of the videos. */
  function classCurves(ranked, matches, truthCounts) {
    return ranked.map(({video, row, score}, label) => {
      const hits = row.map((index, rank) => matches[video[rank]].truthOf[index] >= 0);
      return {...precisionRecall(hits, truthCounts[label]), hits, score};
    });
  }

  /* Count, hits, precision and recall of the detections of a class at or above a score. */
  function operatingPoint(curve, truthCount, scoreThreshold) {
    let count = 0;
    let hits = 0;
    while (count < curve.score.length && curve.score[count] >= scoreThreshold) {
      hits += curve.hits[count] ? 1 : 0;
      count += 1;
    }
    return {count, hits, precision: count ? hits / count : NaN, recall: hits / truthCount};
  }

  /* Numbers of matched, missed and false among the shown segments of a video. */
  function countMarks(video, match, scoreThreshold) {
    let shown = 0;
    let matched = 0;
    video.detections.score.forEach((score, row) => {
      if (score >= scoreThreshold) {
        shown += 1;
        matched += match.truthOf[row] >= 0 ? 1 : 0;
      }
    });
    return {matched, missed: video.numInstances - matched, false: shown - matched};
  }

  /* Score threshold with the best F1 of all detections. */
  function bestScore(curves, numTruth) {
    const all = curves.flatMap(({score, hits}) => score.map((value, i) => [value, hits[i]]));
    all.sort((a, b) => b[0] - a[0]);
    let best = {f1: -1, score: 0};
    let hits = 0;
    all.forEach(([score, hit], rank) => {
      hits += hit ? 1 : 0;
      const f1 = 2 * hits / (rank + 1 + numTruth);
      const isLastOfTie = rank + 1 === all.length || all[rank + 1][0] < score;
      if (isLastOfTie && f1 > best.f1) best = {f1, score};
    });
    return best.score;
  }

  return {temporalIou, prepareVideo, matchVideo, rankClasses, classCurves, operatingPoint,
          countMarks, bestScore};
})();
