"""Uses the live page as a traveller does, in real Chromium, and fails with a message if something is wrong.

page.py BROWSER URL TRAIN DATE SCREENSHOT

TRAIN must be small and unsold on DATE, as the test fills its general quota until a booking waits.
"""

import json
import sys
import urllib.request

from playwright.sync_api import expect, sync_playwright

PATIENCE_MS = 30_000
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


def append(url, records):
    request = urllib.request.Request(
        f"{url}/topics/booking-requests", json.dumps(records).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def get(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


class Traveller:
    def __init__(self, url, train, date):
        self.url, self.train, self.date = url, train, date
        snapshot = get(f"{url}/trains/{train}/{date}")
        self.stops = [stop["code"] for stop in snapshot["stops"]]
        general = next(waitlist for waitlist in snapshot["waitlists"] if waitlist["quota"] == "GN")
        self.travel_class = general["travel_class"]
        self.user = "browser-test"

    def booking(self, request_id, count):
        return {
            "request_id": request_id, "train_id": self.train, "travel_date": self.date, "user_id": self.user,
            "from_station": self.stops[0], "to_station": self.stops[-1], "travel_class": self.travel_class, "quota": "GN",
            "passengers": [{"name": "Ada", "age": 36}] * count, "requested_at": 0,
        }

    def fill(self):
        """Books the rest of the general quota."""
        ends = f"from={self.stops[0]}&to={self.stops[-1]}&class={self.travel_class}&quota=GN"
        left = get(f"{self.url}/trains/{self.train}/{self.date}/availability?{ends}")["availability"][0]["available"]
        groups = [6] * (left // 6) + ([left % 6] if left % 6 else [])
        append(self.url, [self.booking(f"fill-{number}", count) for number, count in enumerate(groups)])
        return [f"fill-{number}" for number in range(len(groups))]


def shows_a_booking(page, traveller):
    """A booking sent by another client appears in the seat map, without any action in the page."""
    sold = page.locator("#map .sold")
    before = sold.count()
    append(traveller.url, traveller.booking("posted", 1))
    expect(page.locator("#map .seat.new").first).to_be_visible()
    expect(sold).to_have_count(before + len(traveller.stops) - 1)
    expect(page.locator("#bookings")).to_have_text("1")


def books_and_cancels_by_keyboard(page):
    page.locator("#book input[name=name]").focus()
    page.keyboard.press("Enter")
    answer = page.locator("#answers li").first
    expect(answer).to_contain_text("PNR")
    assert page.locator("#cancel input").input_value().isdigit()
    page.locator("#cancel input").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", f"the focus is not visible: {outline}"
    page.keyboard.press("Enter")
    expect(page.locator("#answers li")).to_have_count(2)
    expect(answer).to_contain_text("1 cancelled")
    # The count of accepted bookings comes by another way than the answers. It includes the one that `posted` made.
    expect(page.locator("#bookings")).to_have_text("2")


def promotes_before_ones_eyes(page, traveller):
    """On a full train, a booking from the page waits. Another client's cancellation gives it a seat and empties the list."""
    bookings = page.locator("#bookings")
    before = int(bookings.inner_text())
    filled = traveller.fill()
    expect(bookings).to_have_text(str(before + len(filled)))
    page.locator("#book button").click()
    expect(page.locator("#answers li").first).to_contain_text("waitlist place 1")
    pnr = page.locator("#cancel input").input_value()
    expect(page.locator("#waiting")).to_have_text("1")
    expect(page.locator("#waitlist")).to_contain_text(pnr)
    append(traveller.url, {
        "request_id": "give-back", "train_id": traveller.train, "travel_date": traveller.date,
        "user_id": traveller.user, "booking_request_id": filled[0], "requested_at": 0,
    })
    expect(page.locator("#waiting")).to_have_text("0")
    expect(page.locator("#waitlist")).to_have_text("Nobody waits.")
    status = get(f"{traveller.url}/bookings/{pnr}")["passengers"][0]["status"]
    assert status == "confirmed", f"the waiter is {status}"


def fits_a_phone(page):
    page.set_viewport_size(PHONE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"], f"{wide} pixels on {PHONE['width']}: the page scrolls horizontally"
    small = page.evaluate("""[...document.querySelectorAll("button, select, input")]
        .map((control) => control.getBoundingClientRect().height).filter((height) => height < 40)""")
    assert not small, f"controls too small for a finger: {small}"
    page.set_viewport_size(DESKTOP)


def is_dark_in_the_dark(page):
    def lightness():
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    page.emulate_media(color_scheme="light")
    light = lightness()
    page.emulate_media(color_scheme="dark")
    dark = lightness()
    page.emulate_media(color_scheme="light")
    assert light > 600 > 200 > dark, f"backgrounds: light {light}, dark {dark}"


def has_names_for_all_controls(page):
    nameless = page.evaluate("""[...document.querySelectorAll("select, input")]
        .filter((control) => control.labels.length === 0).map((control) => control.outerHTML)""")
    assert not nameless, f"controls without a label: {nameless}"


def main(browser_path, url, train, date, screenshot):
    traveller = Traveller(url, train, date)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        complaints, foreign = [], []
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith((url, "data:")) else None)
        page.goto(f"{url}/#{train}/{date}")
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#map .seat").first).to_be_visible()
        has_names_for_all_controls(page)
        shows_a_booking(page, traveller)
        books_and_cancels_by_keyboard(page)
        promotes_before_ones_eyes(page, traveller)
        fits_a_phone(page)
        is_dark_in_the_dark(page)
        page.screenshot(path=screenshot, full_page=True)
        browser.close()
        assert not complaints, f"messages on the console: {complaints}"
        assert not foreign, f"requests to other hosts: {foreign}"
    print("the page works")


main(*sys.argv[1:])
