"""TensorBoard on a finished run, looked at with a real browser."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.tiny import Commands

PATIENCE = 60
SCREENSHOTS = os.environ.get("ANTICIPATE_SCREENSHOTS")
"""Folder that keeps a picture of each tab."""

DEEP_TEXT = """
const texts = [];
(function walk(node) {
  if (node.nodeType === Node.TEXT_NODE) texts.push(node.textContent.trim());
  if (["STYLE", "SCRIPT"].includes(node.nodeName)) return;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return texts.filter(Boolean).join(" ");
"""
DEEP_IMAGES = """
let count = 0;
(function walk(node) {
  if (node.nodeName === "IMG" && node.naturalWidth > 200) count += 1;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return count;
"""
"""The tabs are made of nested shadow trees, which `innerText` does not enter."""


def wait_for(look, wanted):
    """Look again and again until something is wanted; return what was seen last."""
    end = time.monotonic() + PATIENCE
    while not wanted(seen := look()) and time.monotonic() < end:
        time.sleep(0.5)
    return seen


class Browser:
    """A headless browser, driven over the WebDriver protocol."""

    def __init__(self, driver, browser):
        self.server = driver
        options = {
            "binary": browser,
            "args": ["--headless=new", "--no-sandbox", "--window-size=1400,900"],
        }
        always = {"browserName": "chrome", "goog:chromeOptions": options}
        self.session = ""
        session = self.ask("POST", "", {"capabilities": {"alwaysMatch": always}})
        self.session = f"/{session['sessionId']}"

    def ask(self, method, command, content=None):
        request = urllib.request.Request(
            f"{self.server}/session{self.session}{command}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.ask("POST", "/url", {"url": "about:blank"})  # else a new fragment loads nothing
        self.ask("POST", "/url", {"url": url})

    def run(self, script):
        return self.ask("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, *wanted):
        return wait_for(lambda: self.run(DEEP_TEXT), lambda text: all(w in text for w in wanted))

    def keep(self, name):
        if SCREENSHOTS:
            picture = base64.b64decode(self.ask("GET", "/screenshot"))
            (Path(SCREENSHOTS) / f"{name}.png").write_bytes(picture)


def announced(process, log, pattern):
    """Wait for what a server says about its address."""
    found = wait_for(lambda: re.search(pattern, log.read_text()), bool)
    assert found, f"{process.args[0]} said: {log.read_text()}"
    return found.group(1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Start servers that end with the tests."""
    started = []

    def start(command, pattern):
        log = tmp_path_factory.mktemp("log") / "log"
        with log.open("w") as file:
            started.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        return announced(started[-1], log, pattern)

    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def browser(servers):
    binary = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium with chromedriver on this machine")
    port = servers([driver, "--port=0"], r"started successfully on port (\d+)")
    running = Browser(f"http://127.0.0.1:{port}", binary)
    yield running
    running.ask("DELETE", "")


@pytest.fixture(scope="module")
def tensorboard(browser, servers, synthetic_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    options = (f"--run_dir={folder}", "--run_name=experts/3", "--trainer.max_epochs=3")
    Commands("demo", synthetic_file)("fit", *options)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    return servers(command, r"(http://\S+:\d+/)")


def test_curves_of_training_and_scores_show(browser, tensorboard):
    # Only cards in sight are drawn: the filter brings this one there. Parts of a tag stand apart.
    browser.open(f"{tensorboard}?tagFilter=train%2Floss#timeseries")
    wanted = ("experts/3/split_1/seed_0", "train /loss", "train 3 cards")
    text = browser.text(*wanted)
    browser.keep("time_series")
    assert all(word in text for word in wanted)


def test_charts_that_belong_together_show(browser, tensorboard):
    browser.open(f"{tensorboard}#custom_scalars")
    wanted = ("Losses", "MoC per horizon", "test: Mean MoC", "Router", "entropy")
    text = browser.text(*wanted)
    browser.keep("custom_scalars")
    assert all(word in text for word in wanted)


def test_figures_show(browser, tensorboard):
    browser.open(f"{tensorboard}#images")
    text = browser.text("forecast_test", "router")
    count = wait_for(lambda: browser.run(DEEP_IMAGES), lambda images: images >= 1)
    browser.keep("images")
    assert "forecast_test" in text
    assert count >= 1


def test_settings_and_main_scores_show_in_a_table(browser, tensorboard):
    browser.open(f"{tensorboard}#hparams")
    wanted = ("model.denoiser.num_experts", "run_name", "test/mean_moc", "experts/3")
    text = browser.text(*wanted)
    browser.keep("hparams")
    assert all(word in text for word in wanted)


def test_the_resolved_configuration_shows(browser, tensorboard):
    browser.open(f"{tensorboard}#text")
    text = browser.text("num_static_layers")
    browser.keep("text")
    assert "num_static_layers" in text
