//! The cases of `docs/DOMAIN.md` as text: one file for each part of the rules, one line for each command, the expected
//! answer after `=`. One [`check`] runs them; it fails on a line that it doesn't understand.
//!
//! ```text
//! case <name>
//! plan  [coaches=S1,S2] [seats=2] [pattern=LU] [quota=TQ:2] [cap=21] [policy=strict] [allocation=first] [night] [other] [sale=60]
//! at    <hours before departure from A>
//! book  <id> <from>-<to> [n=3] [partial] [prefer=L] [hard] [quota=TQ] [class=SL] [user=u2] [name=Ada] [date=+1] [later] = <events>
//! cancel <id> <booking> [pax=0,2] [user=u2] = <events>
//! free  <from>-<to> [quota=TQ] = <seats>
//! departs <booking> = <local time>
//! revenue = <rupees>
//! restart | without-plan | with-plan
//! ```
//! Events: `CNF S1-1 S1-2 SAME_BAY`, `GNWL1..2/WL1..2`, `REJECTED CODE`, `CANCELLED 0:480 1:again`, `PROMOTED id S1-1`,
//! `MOVED id GNWL3/WL1`; several are joined by `;`, a repeated answer ends in `(again)`. Texts may have `\s` (blank),
//! `\t` and `\u{202e}`.

mod support;

use chrono::{DateTime, TimeDelta};
use interlock_schemas::*;
use support::{DEPARTURE, ORIGIN_DATE, World};

#[test]
fn seats() {
    check(include_str!("scenarios/seats.txt"));
}

#[test]
fn groups() {
    check(include_str!("scenarios/groups.txt"));
}

#[test]
fn waitlists() {
    check(include_str!("scenarios/waitlists.txt"));
}

#[test]
fn requests() {
    check(include_str!("scenarios/requests.txt"));
}

#[test]
fn money() {
    check(include_str!("scenarios/money.txt"));
}

#[test]
#[should_panic(expected = "line 2")]
fn a_line_that_says_nothing_fails() {
    check("case x\nbok b1 A-C = CNF S1-1\n");
}

fn check(text: &str) {
    let mut world = World::new(None);
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let (said, expected) = line.split_once(" = ").unwrap_or((line, ""));
        let words: Vec<&str> = said.split_whitespace().collect();
        let happened = run(&mut world, &words).unwrap_or_else(|problem| panic!("line {number}: `{line}`: {problem}"));
        assert_eq!(happened, expected.trim(), "line {number}: `{line}`");
        world.check_fold();
    }
}

fn run(world: &mut World, words: &[&str]) -> Result<String, String> {
    match words {
        ["case", ..] => {
            *world = World {
                time: DEPARTURE - 30 * 24 * 3_600_000,
                ..World::new(Some(support::service()))
            }
        }
        ["plan", options @ ..] => {
            let time = world.time;
            *world = World {
                time,
                ..World::new(Some(plan(options)?))
            };
        }
        ["without-plan"] => world.plan = None,
        ["with-plan"] => world.plan = World::new(Some(support::service())).plan,
        ["at", hours] => {
            world.time = DEPARTURE - (hours.parse::<f64>().map_err(|e| e.to_string())? * 3_600_000.0) as i64
        }
        ["book", id, segment, options @ ..] => {
            let command = Command::Book(booking(id, segment, options)?);
            return Ok(render(&world.send(&command)));
        }
        ["cancel", id, booking, options @ ..] => {
            let command = Command::Cancel(cancellation(id, booking, options)?);
            return Ok(render(&world.send(&command)));
        }
        ["free", segment, options @ ..] => {
            let (from, to) = segment.split_once('-').ok_or("a segment is A-C")?;
            let quota = options
                .first()
                .and_then(|option| option.strip_prefix("quota="))
                .unwrap_or("GN");
            return Ok(world
                .train_date()
                .map_or(0, |train_date| train_date.availability(from, to, "SL", quota))
                .to_string());
        }
        ["departs", id] => return departure(world, id).ok_or_else(|| "not confirmed".to_owned()),
        ["revenue"] => return Ok(rupees(world.revenue())),
        ["restart"] => world.restart(),
        _ => return Err("not understood".to_owned()),
    }
    Ok(String::new())
}

fn plan(options: &[&str]) -> Result<TrainService, String> {
    let mut plan = support::service();
    plan.waitlist_caps = vec![WaitlistCap {
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: 1_000,
    }];
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("coaches", names) => plan.coaches = names.split(',').map(support::coach).collect(),
            ("seats", seats) => plan.layouts[0].seats = number(seats)?,
            ("pattern", kinds) => plan.layouts[0].pattern = kinds.chars().map(berth).collect::<Result<_, _>>()?,
            ("quota", quota) => {
                let (quota, seats) = quota.split_once(':').ok_or("a quota is TQ:2")?;
                plan.quotas.push(Quota {
                    quota: quota.into(),
                    travel_class: "SL".into(),
                    seats: number(seats)?,
                });
            }
            ("cap", "default") => plan.waitlist_caps.clear(),
            ("cap", passengers) => plan.waitlist_caps[0].passengers = number(passengers)?,
            ("policy", "strict") => plan.promotion = PromotionPolicy::LegStrict,
            ("allocation", "first") => plan.allocation = Allocation::FirstFit,
            ("sale", days) => {
                plan.sale = vec![SaleWindow {
                    quota: Text::default(),
                    opens_days_before: number(days)?,
                    opens_at_s: 8 * 3_600,
                }];
            }
            ("night", _) => {
                for (stop, time_s) in plan.route.iter_mut().zip([84_600, 86_400, 88_800, 95_000, 99_000]) {
                    (stop.arrival_s, stop.departure_s) = (time_s, time_s);
                }
            }
            // On the day after it leaves two hours later, and doesn't stop at C.
            ("other", _) => {
                let mut route = plan.route.clone();
                route.remove(2);
                for stop in &mut route {
                    (stop.arrival_s, stop.departure_s) = (stop.arrival_s + 7_200, stop.departure_s + 7_200);
                }
                plan.other_timetables = vec![Timetable {
                    running_dates: vec![ORIGIN_DATE + 1],
                    route,
                }];
            }
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(plan)
}

fn booking(id: &str, segment: &str, options: &[&str]) -> Result<BookingRequest, String> {
    let (from, to) = segment.split_once('-').ok_or("a segment is A-C")?;
    let mut request = support::booking(id, from, to, 1);
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("n", count) => request.passengers = support::booking(id, from, to, number(count)? as usize).passengers,
            ("partial", _) => request.partial_confirmation = true,
            ("prefer", kinds) => {
                for (passenger, kind) in request.passengers.iter_mut().zip(kinds.chars()) {
                    passenger.berth_preference = preference(kind)?;
                }
            }
            ("hard", _) => request
                .passengers
                .iter_mut()
                .for_each(|passenger| passenger.preference_is_hard = true),
            ("quota", quota) => request.quota = quota.into(),
            ("class", class) => request.travel_class = unescaped(class)?,
            ("name", name) => request.passengers[0].name = unescaped(name)?,
            ("user", user) => request.user_id = user.into(),
            ("train", train) => request.train_id = train.into(),
            ("age", age) => request.passengers[0].age = number(age)?,
            ("date", days) => request.travel_date = ORIGIN_DATE + number(days)?,
            ("later", _) => request.requested_at += 1,
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(request)
}

fn cancellation(id: &str, booking: &str, options: &[&str]) -> Result<CancellationRequest, String> {
    let mut request = support::cancellation(id, &unescaped(booking)?, &[]);
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("pax", indices) => request.passengers = indices.split(',').map(number).collect::<Result<_, _>>()?,
            ("user", user) => request.user_id = user.into(),
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(request)
}

fn unescaped(text: &str) -> Result<Text, String> {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.strip_prefix("u{").and_then(|part| part.split_once('}')) {
            Some((hex, rest)) => {
                let code = u32::from_str_radix(hex, 16).map_err(|error| error.to_string())?;
                (char::from_u32(code).ok_or("no character")?, rest)
            }
            None => match part.split_at_checked(1) {
                Some(("s", rest)) => (' ', rest),
                Some(("t", rest)) => ('\t', rest),
                _ => return Err(format!("unknown escape \\{part}")),
            },
        };
        whole.push(escaped);
        whole.push_str(rest);
    }
    Ok(whole.into())
}

fn number(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn berth(kind: char) -> Result<Berth, String> {
    let kinds = [
        ('L', Berth::Lower),
        ('M', Berth::Middle),
        ('U', Berth::Upper),
        ('l', Berth::SideLower),
        ('u', Berth::SideUpper),
        ('W', Berth::Window),
        ('A', Berth::Aisle),
    ];
    kinds
        .iter()
        .find(|(letter, _)| *letter == kind)
        .map(|(_, berth)| *berth)
        .ok_or(format!("{kind} is no berth"))
}

fn preference(kind: char) -> Result<BerthPreference, String> {
    if kind == '-' {
        return Ok(BerthPreference::None);
    }
    Ok(match berth(kind)? {
        Berth::Lower => BerthPreference::Lower,
        Berth::Middle => BerthPreference::Middle,
        Berth::Upper => BerthPreference::Upper,
        Berth::SideLower => BerthPreference::SideLower,
        Berth::SideUpper => BerthPreference::SideUpper,
        Berth::Window => BerthPreference::Window,
        Berth::Aisle => BerthPreference::Aisle,
    })
}

fn departure(world: &World, id: &str) -> Option<String> {
    let confirmed = world.events.iter().find_map(|event| match event {
        Event::Confirmed(confirmed) if confirmed.header.request_id == id => Some(confirmed),
        _ => None,
    })?;
    let local = DateTime::from_timestamp_millis(confirmed.departure_time)? + TimeDelta::minutes(330);
    Some(format!(
        "{} on {}",
        local.format("%d %b %H:%M"),
        train_date_key(&confirmed.header.train_id, confirmed.header.travel_date)
    ))
}

fn render(events: &[Event]) -> String {
    let parts: Vec<String> = events.iter().filter_map(render_event).collect();
    parts.join("; ")
}

fn render_event(event: &Event) -> Option<String> {
    let again = if event.header().replay { " (again)" } else { "" };
    let text = match event {
        Event::Opened(_) => return None,
        Event::Rejected(rejected) => format!("REJECTED {}", rejected.code),
        Event::Confirmed(confirmed) => {
            let seats: Vec<_> = confirmed
                .passengers
                .iter()
                .map(|seat| format!("{}-{}", seat.coach, seat.seat_number))
                .collect();
            let tier = match confirmed.tier {
                _ if seats.len() == 1 => "",
                Tier::SameBay => " SAME_BAY",
                Tier::SameCoach => " SAME_COACH",
                Tier::Split => " SPLIT",
            };
            match confirmed.header.kind {
                EventKind::Promotion => format!("PROMOTED {} {}{tier}", confirmed.header.request_id, seats.join(" ")),
                _ => format!("CNF {}{tier}", seats.join(" ")),
            }
        }
        Event::Waitlisted(waitlisted) if waitlisted.header.kind == EventKind::Position => {
            let place = |moved: &PositionMove| {
                let PositionMove {
                    request_id,
                    first_position,
                    current_position,
                    ..
                } = moved;
                format!("{request_id} {}{first_position}/WL{current_position}", waitlisted.list)
            };
            format!(
                "MOVED {}",
                waitlisted.moves.iter().map(place).collect::<Vec<_>>().join(" ")
            )
        }
        Event::Waitlisted(waitlisted) => {
            let span = |place: fn(&WaitingPassenger) -> i32| match waitlisted.passengers.as_slice() {
                [one] => place(one).to_string(),
                [first, .., last] => format!("{}..{}", place(first), place(last)),
                [] => "nobody".to_owned(),
            };
            format!(
                "{}{}/WL{}",
                waitlisted.list,
                span(|p| p.first_position),
                span(|p| p.current_position)
            )
        }
        Event::Cancelled(cancelled) => {
            let given = |passenger: &CancelledPassenger| match passenger.already_cancelled {
                true => format!("{}:gone", passenger.index),
                false => format!("{}:{}", passenger.index, rupees(passenger.refund_minor)),
            };
            format!(
                "CANCELLED {}",
                cancelled.passengers.iter().map(given).collect::<Vec<_>>().join(" ")
            )
        }
    };
    Some(text + again)
}

fn rupees(minor: Minor) -> String {
    assert_eq!(minor % 100, 0);
    (minor / 100).to_string()
}
