// The live page: asks the gateway, listens to its events, and shows what it says. No state of its own but what is chosen.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
// A request is answered within milliseconds where a worker runs; longer than this none does.
const ANSWER_MS = 15_000;

let trains = [];
let snapshot = null;
let seats = new Map();
let source = null;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail ?? response.statusText), { status: response.status });
  return body;
}

// randomUUID is there on secure origins only.
const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const money = (minor, currency) =>
  new Intl.NumberFormat("en", { style: "currency", currency, maximumFractionDigits: 0 }).format(minor / 100);

// ---- what is chosen ----

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => element("option", { value, textContent: text })));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}

async function loadTrains() {
  ({ trains } = await ask("trains"));
  if (trains.length === 0) {
    $("connection").textContent = "no trains are on sale yet";
    setTimeout(start, 1000);
    return false;
  }
  const [train] = location.hash.slice(1).split("/").map(decodeURIComponent);
  options($("train"), trains.map((train) => [train.train_id, `${train.train_id} ${train.name}`]), train);
  chooseTrain();
  return true;
}

function chooseTrain() {
  const train = trains.find((train) => train.train_id === $("train").value);
  const [, date] = location.hash.slice(1).split("/").map(decodeURIComponent);
  options($("date"), train.running_dates.map((date) => [date, date]), date);
  const { from, to } = $("book").elements;
  const stops = train.stops.map((stop) => [stop.code, `${stop.name} (${stop.code})`]);
  options(from, stops.slice(0, -1));
  options(to, stops.slice(1), stops.at(-1)[0]);
  chooseDate();
}

function chooseDate() {
  const path = `${encodeURIComponent($("train").value)}/${encodeURIComponent($("date").value)}`;
  history.replaceState(null, "", `#${path}`);
  source?.close();
  snapshot = null;
  seats = new Map();
  $("map").replaceChildren();
  source = new EventSource(`trains/${path}`);
  source.onopen = () => said("live", false);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("problem", (event) => said(event.data, true));
  source.onerror = () => said("the connection is lost; trying again …", true);
}

function said(text, broken) {
  $("connection").textContent = text;
  $("connection").classList.toggle("broken", broken);
}

// ---- a train-date ----

function show(next) {
  const first = snapshot === null;
  snapshot = next;
  const sold = next.classes.reduce((sum, of) => sum + of.seat_metres_sold, 0);
  const offered = next.classes.reduce((sum, of) => sum + of.seat_metres_offered, 0);
  $("load").textContent = offered ? `${((100 * sold) / offered).toFixed(1)} %` : "–";
  $("bookings").textContent = next.bookings.toLocaleString("en");
  $("waiting").textContent = next.waitlists.reduce((sum, list) => sum + list.waiting, 0).toLocaleString("en");
  if (first) {
    const legs = next.stops.slice(1).map((stop, leg) =>
      element("li", {}, element("b", { textContent: `${leg + 1} ` }), `${next.stops[leg].code}–${stop.code}`));
    $("legs").replaceChildren(...legs);
    const scopes = next.waitlists.map((list) => `${list.travel_class} ${list.quota}`);
    options($("book").elements.scope, scopes.map((scope) => [scope, scope]), scopes.find((scope) => scope.endsWith(" GN")));
  }
  for (const coach of next.coaches) showCoach(coach, first);
  showWaitlists(next.waitlists);
}

function showCoach({ coach, travel_class, seats: all }, first) {
  const list = first ? element("ol", { className: "seats" }) : null;
  let sold = 0;
  for (const seat of all) {
    const key = `${coach}/${seat.number}`;
    if (seat.legs.includes("x")) sold += 1;
    let known = seats.get(key);
    if (!known) {
      known = makeSeat(coach, seat);
      seats.set(key, known);
      list.append(known.item);
    }
    if (known.legs === seat.legs) continue;
    if (!first) {
      known.item.classList.remove("new");
      void known.item.offsetWidth; // restarts the animation
      known.item.classList.add("new");
    }
    known.legs = seat.legs;
    [...seat.legs].forEach((leg, index) => known.bars[index].setAttribute("class", leg === "x" ? "sold" : "free"));
    known.item.title = `${coach} ${seat.number}, ${seat.berth.toLowerCase().replace("_", " ")}, ${seat.quota}: ${seatText(seat.legs)}`;
  }
  if (first) $("map").append(element("h3", { id: `coach-${coach}` }), list);
  $(`coach-${coach}`).textContent = `${coach} (${travel_class}): ${sold} of ${all.length} seats sold on some leg`;
}

function makeSeat(coach, { number, legs }) {
  const picture = drawn("svg", { viewBox: `0 0 ${legs.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const bars = [...legs].map((_, index) => drawn("rect", { x: index + 0.06, y: 0, width: 0.88, height: 1 }));
  picture.append(...bars);
  const item = element("li", { className: "seat" }, String(number), picture);
  item.dataset.seat = `${coach}-${number}`;
  return { item, bars, legs: null };
}

function seatText(legs) {
  const taken = [...legs].flatMap((leg, index) => (leg === "x" ? [index + 1] : []));
  if (taken.length === 0) return "free";
  return taken.length === legs.length ? "sold on all legs" : `sold on legs ${taken.join(", ")}`;
}

function showWaitlists(lists) {
  const waiting = lists.filter((list) => list.waiting > 0);
  if (waiting.length === 0) {
    $("waitlist").replaceChildren(element("p", { className: "hint", textContent: "Nobody waits." }));
    return;
  }
  $("waitlist").replaceChildren(...waiting.flatMap((list) => [
    element("h3", { textContent: `${list.travel_class} ${list.quota}: ${list.waiting} waiting` }),
    element("div", { className: "scroll" }, table(["place", "first", "PNR", "trip"], list.first.map((waiter) =>
      [waiter.current_position, waiter.first_position, waiter.pnr, `${waiter.from}–${waiter.to}`]))),
  ]));
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const body = rows.map((row) => element("tr", {}, ...row.map((text) => element("td", { textContent: text }))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

// ---- requests ----

function answer(text, refused = false) {
  $("answers").prepend(element("li", { textContent: text, className: refused ? "refused" : "" }));
  while ($("answers").children.length > 20) $("answers").lastChild.remove();
}

async function request(record, what) {
  const { train_id, travel_date, request_id } = record;
  try {
    await ask("topics/booking-requests", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(record),
    });
    answer(told(await outcome(train_id, travel_date, request_id)));
  } catch (error) {
    answer(`${what}: ${error.message}`, true);
  }
}

function outcome(train, date, request) {
  const events = new EventSource(["trains", train, date, "requests", request].map(encodeURIComponent).join("/"));
  const answered = new Promise((resolve, reject) => {
    events.onmessage = (event) => resolve(JSON.parse(event.data));
    events.addEventListener("problem", (event) => reject(new Error(event.data)));
    setTimeout(() => reject(new Error("no answer yet: is a worker running?")), ANSWER_MS);
  });
  return answered.finally(() => events.close());
}

function told(became) {
  if (became.outcome === "rejection") throw new Error(`${became.message} (${became.code})`);
  if (became.outcome === "cancellation") return `${became.passengers} cancelled, ${became.refund_minor / 100} paid back.`;
  $("cancel").elements.pnr.value = became.pnr;
  const places = became.passengers.map((passenger) =>
    passenger.status === "confirmed" ? `${passenger.coach} ${passenger.seat_number}`
      : passenger.status === "waiting" ? `waitlist place ${passenger.current_position}` : "cancelled");
  const paid = became.passengers.reduce((sum, passenger) => sum + passenger.fare_minor, 0);
  return `PNR ${became.pnr}: ${places.join(", ")}; ${money(paid, became.currency)} paid.`;
}

async function book(event) {
  event.preventDefault();
  const { from, to, scope, count, name, berth } = $("book").elements;
  const [travel_class, quota] = scope.value.split(" ");
  const passenger = { name: name.value, age: 36, berth_preference: berth.value };
  await request({
    request_id: newId(),
    train_id: $("train").value, travel_date: $("date").value, user_id: "live-page",
    from_station: from.value, to_station: to.value, travel_class, quota,
    passengers: Array.from({ length: Number(count.value) }, () => passenger),
    requested_at: new Date().toISOString(),
  }, "Not booked");
}

async function cancel(event) {
  event.preventDefault();
  try {
    const booking = await ask(`bookings/${encodeURIComponent($("cancel").elements.pnr.value)}`);
    await request({
      request_id: newId(),
      train_id: booking.train_id, travel_date: booking.travel_date, user_id: booking.user_id,
      booking_request_id: booking.request_id, requested_at: new Date().toISOString(),
    }, "Not cancelled");
  } catch (error) {
    answer(`Not cancelled: ${error.message}`, true);
  }
}

// ---- sales ----

function showSales({ totals, revenue_by_minute, decided_by_second }) {
  // The last second may not be over.
  const seconds = Object.keys(decided_by_second).map(Number).sort((a, b) => a - b).slice(-6, -1);
  const span = seconds.length ? seconds.at(-1) - seconds[0] + 1 : 0;
  const decided = seconds.reduce((sum, second) => sum + decided_by_second[second], 0);
  const only = Object.values(decided_by_second)[0] ?? 0;
  $("throughput").textContent = Math.round(span ? decided / span : only).toLocaleString("en");
  const currencies = [...new Set(Object.values(revenue_by_minute).flatMap(Object.keys))].sort();
  $("revenue").replaceChildren(...currencies.map((currency) => chart(currency, revenue_by_minute)));
  $("totals").textContent = `Since the first event kept: ${Object.entries(totals)
    .map(([what, count]) => `${count.toLocaleString("en")} ${what}`).join(", ")}.`;
}

function chart(currency, minutes) {
  const last = Math.max(...Object.keys(minutes).map(Number));
  const values = Array.from({ length: 30 }, (_, index) => minutes[last - 60 * (29 - index)]?.[currency] ?? 0);
  const most = Math.max(1, ...values.map(Math.abs));
  const sum = values.reduce((sum, value) => sum + value, 0);
  const picture = drawn("svg", { viewBox: "0 0 30 20", preserveAspectRatio: "none", role: "img" });
  picture.setAttribute("aria-label", `${money(sum, currency)} in the last 30 minutes with sales`);
  values.forEach((value, index) => {
    const height = (18 * Math.abs(value)) / most;
    picture.append(drawn("rect", { x: index + 0.1, y: 20 - height, width: 0.8, height, class: value < 0 ? "free" : "sold" }));
  });
  return element("figure", {}, element("figcaption", {
    className: "hint",
    textContent: `${currency}: ${money(values.at(-1), currency)} in the last minute, ${money(sum, currency)} in 30; the tallest is ${money(most, currency)}`,
  }), picture);
}

async function start() {
  try {
    if (!(await loadTrains())) return;
    new EventSource("sales").onmessage = (event) => showSales(JSON.parse(event.data));
  } catch (error) {
    said(`${error.message}; trying again …`, true);
    setTimeout(start, 1000);
  }
}

$("train").addEventListener("change", chooseTrain);
$("date").addEventListener("change", chooseDate);
$("book").addEventListener("submit", book);
$("cancel").addEventListener("submit", cancel);
$("choice").addEventListener("submit", (event) => event.preventDefault());
start();
