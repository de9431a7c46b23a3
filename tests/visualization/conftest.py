"""Shared browser of the report page's tests, and a report opened in it."""
from __future__ import annotations

import pytest
from chromium import Chromium, find_chromium
from report_cases import small_annotations, small_detections

from sbp_tad.visualization.report_page import report_content, write_page

READY = 'document.body?.dataset.ready'


@pytest.fixture(scope='session')
def browser():
    program = find_chromium()
    if program is None:
        pytest.skip('no Chromium on this machine (Debian package chromium)')
    with Chromium(program) as chromium:
        yield chromium


@pytest.fixture
def page(browser, tmp_path):
    """Write and open reports; a console error or a request to the network fails the test."""
    def open_report(*arguments, links=None, **options):
        index = write_page(tmp_path / 'report', report_content(*arguments, **options), links)
        browser.open(index, READY)
        browser.settle()
        return browser
    browser.faults.clear()
    browser.requests.clear()
    yield open_report
    assert browser.faults == []
    assert [url for url in browser.requests if not url.startswith(('file:', 'about:'))] == []


@pytest.fixture
def small_page(page):
    return page(small_detections(), small_annotations(), title='Small')
