'use strict';
/* Time of the page: that of the video element, or of a clock without a video. */
const player = (() => {
  const element = dom.byId('player');
  const note = dom.byId('stage-note');
  const listeners = [];
  let usesVideo = false;
  let fallback = {time: 0, duration: 1, playing: false, last: 0};

  const time = () => (usesVideo ? element.currentTime : fallback.time);
  const duration = () => fallback.duration;
  const isPlaying = () => (usesVideo ? !element.paused : fallback.playing);
  const onTick = (listener) => listeners.push(listener);
  const tick = () => listeners.forEach((listener) => listener());

  function load(video) {
    pause();
    fallback = {time: 0, duration: model.duration(video), playing: false, last: 0};
    usesVideo = Boolean(video.file);
    element.hidden = !usesVideo;
    note.hidden = usesVideo;
    note.textContent = 'No video file: only the time cursor moves.';
    if (usesVideo) element.src = video.file;
    else element.removeAttribute('src');
    tick();
  }

  function giveUpVideo() {
    if (!usesVideo) return;
    usesVideo = false;
    element.hidden = true;
    note.hidden = false;
    note.textContent = 'This browser cannot play the video file (moved, or in an unsupported '
      + 'format): only the time cursor moves.';
    tick();
  }

  function seek(seconds) {
    fallback.time = Math.min(Math.max(seconds, 0), fallback.duration);
    if (usesVideo) element.currentTime = fallback.time;
    tick();
  }

  function play() {
    if (usesVideo) {
      element.play().catch(() => {}); // refused: the page shows a paused player
    } else {
      if (fallback.time >= fallback.duration) fallback.time = 0;
      Object.assign(fallback, {playing: true, last: performance.now()});
    }
    requestAnimationFrame(frame);
    tick();
  }

  function pause() {
    element.pause();
    fallback.playing = false;
    tick();
  }

  function frame(now) {
    if (!isPlaying()) return;
    if (!usesVideo) {
      fallback.time += Math.max(0, now - fallback.last) / 1000 * element.playbackRate;
      fallback.last = now;
      if (fallback.time >= fallback.duration) {
        fallback.time = fallback.duration;
        fallback.playing = false;
      }
    }
    tick();
    requestAnimationFrame(frame);
  }

  function setRate(rate) {
    element.defaultPlaybackRate = rate;
    element.playbackRate = rate;
  }

  element.addEventListener('error', giveUpVideo);
  element.addEventListener('play', () => requestAnimationFrame(frame));
  for (const name of ['pause', 'seeked', 'loadedmetadata', 'ended']) {
    element.addEventListener(name, tick);
  }
  return {load, seek, play, pause, time, duration, isPlaying, onTick, setRate,
          toggle: () => (isPlaying() ? pause() : play())};
})();
