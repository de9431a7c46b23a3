"""Headless Chromium for the tests of pages, driven through its debugging pipe.

The protocol is Chrome's DevTools protocol: JSON messages, each with a zero byte
at its end, on the file descriptors 3 and 4. It needs no driver and no package.
"""
from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--hide-scrollbars', '--mute-audio', '--disable-dev-shm-usage',
         '--force-color-profile=srgb', '--autoplay-policy=no-user-gesture-required',
         '--remote-debugging-pipe')
TIMEOUT_SECONDS = 60
KEY_CODES = {'Enter': 13, ' ': 32, 'End': 35, 'Home': 36, 'ArrowLeft': 37, 'ArrowUp': 38,
             'ArrowRight': 39, 'ArrowDown': 40, 'Tab': 9}


def find_chromium() -> str | None:
    """Return the path of the program, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One page of one browser; ``faults`` collects console errors, ``requests`` URLs."""

    def __init__(self, program: str, size: tuple[int, int] = (1440, 1000)) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._number, self._buffer = 0, b''
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        flags = [*FLAGS, f'--user-data-dir={self._folder.name}',
                 f'--window-size={size[0]},{size[1]}']
        self._process = subprocess.Popen(
            ['bash', '-c', f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', 'bash', program, *flags,
             'about:blank'], pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._session: str | None = None
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target,
                                  flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=size[0], height=size[1],
                  deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # the browser ends with its pipe
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._folder.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command, record the events before its answer, and return the answer."""
        self._number += 1
        message = dict(id=self._number, method=method, params=parameters)
        if self._session:
            message['sessionId'] = self._session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self._write, data):]
        while True:
            answer = self._receive()
            if answer.get('id') == self._number:
                assert 'error' not in answer, (method, answer['error'])
                return answer['result']
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b'\0' not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT_SECONDS)
            part = os.read(self._read, 1 << 20) if ready else b''
            assert part, f'Chromium has not answered for {TIMEOUT_SECONDS} s, or has ended.'
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get('method'), event.get('params', {})
        if method == 'Network.requestWillBeSent':
            self.requests.append(parameters['request']['url'])
        is_fault = (method == 'Runtime.exceptionThrown' or method == 'Runtime.consoleAPICalled'
                    and parameters['type'] in ('error', 'warning', 'assert')
                    or method == 'Log.entryAdded' and parameters['entry']['level'] == 'error')
        if is_fault:
            self.faults.append(json.dumps(parameters))

    def run(self, script: str) -> Any:
        """Return the value of an expression; promises are awaited.

        Raises:
            AssertionError: it throws.
        """
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True,
                           awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def open(self, page: Path, until: str = "document.readyState === 'complete'") -> None:
        """Load a file from disk and wait until an expression holds."""
        self.call('Page.navigate', url=page.absolute().as_uri())
        self.wait(until)

    def wait(self, condition: str) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while not self.run(f'Boolean({condition})'):
            assert time.monotonic() < end, f'{condition} has not become true; {self.faults}'
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until scheduled changes are drawn."""
        self.run('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))')

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click on the first element of a selector, at a fraction of its box."""
        box = self.run(f'(() => {{ const e = document.querySelector({json.dumps(selector)});'
                       'e.scrollIntoView({block: "center"}); const b = e.getBoundingClientRect();'
                       'return [b.x, b.y, b.width, b.height]; })()')
        place = dict(x=box[0] + at[0] * box[2], y=box[1] + at[1] * box[3])
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, button='left', clickCount=1, **place)
        self.settle()

    def press(self, key: str) -> None:
        """Press and release a key, named as in ``KeyboardEvent.key``."""
        code = KEY_CODES.get(key, ord(key[0].upper()))
        text = {'text': {'Enter': '\r'}.get(key, key)} if len(key) == 1 or key == 'Enter' else {}
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key,
                  windowsVirtualKeyCode=code, **text)
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key, windowsVirtualKeyCode=code)
        self.settle()

    def type(self, text: str) -> None:
        """Type into the element with the focus."""
        for character in text:
            self.press(character)

    def screenshot(self, path: Path, whole: bool = False) -> Path:
        """Write a PNG of the window, or of the whole page."""
        data = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(data['data']))
        return path
