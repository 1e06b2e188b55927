//! A network of its own: no files needed, all of it on sale.
//!
//! The stations are real, the trains are not: night trains between cities of India (two of them with 720 sleeper berths
//! on ten stops), day trains with chair cars, and trains among five stations in Poland. Each line runs both ways every
//! day.

use std::collections::BTreeSet;

use interlock_schemas::Stop;

use super::notes::Notes;
use super::template::{Templates, Timetabled};
use super::{Seed, SeedError, Window, check_days};

/// Code, name, kilometres from the line's first station, minutes from its departure there to the arrival here, minutes
/// of halt.
type Call = (&'static str, &'static str, i64, i32, i32);

/// A line and its departures.
struct Line {
    /// Name of its trains.
    name: &'static str,
    /// Trains are this and a number: even ones run back.
    prefix: &'static str,
    /// Number of the first train; odd.
    number: u32,
    template: &'static str,
    time_zone: &'static str,
    calls: &'static [Call],
    /// Minutes after midnight.
    departures: &'static [i32],
    /// The same, from the other end.
    departures_back: &'static [i32],
}

/// Name of the demonstration as a feed.
pub const DEMONSTRATION: &str = "demonstration";

const INDIA: &str = "Asia/Kolkata";
const POLAND: &str = "Europe/Warsaw";

const LINES: [Line; 9] = [
    Line {
        name: "Mumbai–Delhi Night Mail",
        prefix: "",
        number: 12_951,
        template: "india-sleeper",
        time_zone: INDIA,
        calls: &[
            ("MMCT", "Mumbai Central", 0, 0, 0),
            ("BVI", "Borivali", 30, 30, 2),
            ("ST", "Surat", 263, 185, 5),
            ("BRC", "Vadodara Junction", 392, 280, 8),
            ("RTM", "Ratlam Junction", 653, 480, 3),
            ("NAD", "Nagda Junction", 694, 518, 2),
            ("KOTA", "Kota Junction", 919, 660, 10),
            ("SWM", "Sawai Madhopur", 1_027, 735, 2),
            ("MTJ", "Mathura Junction", 1_243, 850, 2),
            ("NDLS", "New Delhi", 1_384, 932, 0),
        ],
        departures: &[17 * 60],
        departures_back: &[16 * 60 + 55],
    },
    Line {
        name: "Coromandel Coast Mail",
        prefix: "",
        number: 12_841,
        template: "india-sleeper",
        time_zone: INDIA,
        calls: &[
            ("HWH", "Howrah Junction", 0, 0, 0),
            ("KGP", "Kharagpur Junction", 115, 100, 5),
            ("BLS", "Balasore", 231, 195, 2),
            ("BBS", "Bhubaneswar", 437, 375, 5),
            ("VSKP", "Visakhapatnam", 880, 790, 20),
            ("BZA", "Vijayawada Junction", 1_230, 1_150, 10),
            ("MAS", "Chennai Central", 1_662, 1_575, 0),
        ],
        departures: &[15 * 60 + 20],
        departures_back: &[7 * 60],
    },
    Line {
        name: "Deccan Capital Mail",
        prefix: "",
        number: 12_627,
        template: "india-sleeper",
        time_zone: INDIA,
        calls: &[
            ("SBC", "KSR Bengaluru", 0, 0, 0),
            ("GTL", "Guntakal Junction", 292, 330, 5),
            ("SUR", "Solapur Junction", 610, 690, 5),
            ("DD", "Daund Junction", 798, 880, 5),
            ("BSL", "Bhusaval Junction", 1_148, 1_280, 5),
            ("BPL", "Bhopal Junction", 1_541, 1_680, 10),
            ("VGLJ", "Jhansi Junction", 1_832, 1_925, 8),
            ("AGC", "Agra Cantt", 2_048, 2_110, 5),
            ("NDLS", "New Delhi", 2_243, 2_290, 0),
        ],
        departures: &[19 * 60 + 20],
        departures_back: &[20 * 60 + 20],
    },
    Line {
        name: "Gujarat Day Express",
        prefix: "",
        number: 12_009,
        template: "india-day",
        time_zone: INDIA,
        calls: &[
            ("MMCT", "Mumbai Central", 0, 0, 0),
            ("BVI", "Borivali", 30, 33, 2),
            ("ST", "Surat", 263, 178, 3),
            ("BRC", "Vadodara Junction", 392, 265, 5),
            ("ADI", "Ahmedabad Junction", 492, 385, 0),
        ],
        departures: &[6 * 60 + 20],
        departures_back: &[14 * 60 + 40],
    },
    Line {
        name: "Bhopal Day Express",
        prefix: "",
        number: 12_001,
        template: "india-day",
        time_zone: INDIA,
        calls: &[
            ("NDLS", "New Delhi", 0, 0, 0),
            ("MTJ", "Mathura Junction", 141, 80, 1),
            ("AGC", "Agra Cantt", 195, 117, 5),
            ("GWL", "Gwalior Junction", 313, 203, 5),
            ("VGLJ", "Jhansi Junction", 411, 285, 8),
            ("BPL", "Bhopal Junction", 702, 515, 0),
        ],
        departures: &[6 * 60],
        departures_back: &[15 * 60],
    },
    Line {
        name: "Neptun",
        prefix: "IC",
        number: 5_301,
        template: "poland-intercity",
        time_zone: POLAND,
        calls: &[
            ("GDW", "Gdańsk Wrzeszcz", 0, 0, 0),
            ("GDG", "Gdańsk Główny", 4, 5, 3),
            ("WAC", "Warszawa Centralna", 332, 175, 10),
            ("KRG", "Kraków Główny", 625, 335, 0),
        ],
        departures: &[305, 425, 545, 665, 785, 905, 1_025, 1_145],
        departures_back: &[290, 410, 530, 650, 770, 890, 1_010, 1_130],
    },
    Line {
        name: "Koziołek",
        prefix: "IC",
        number: 7_101,
        template: "poland-intercity",
        time_zone: POLAND,
        calls: &[
            ("POG", "Poznań Główny", 0, 0, 0),
            ("WAC", "Warszawa Centralna", 304, 165, 10),
            ("KRG", "Kraków Główny", 597, 325, 0),
        ],
        departures: &[370, 610, 850, 1_090],
        departures_back: &[355, 595, 835, 1_075],
    },
    Line {
        name: "Artus",
        prefix: "IC",
        number: 8_301,
        template: "poland-intercity",
        time_zone: POLAND,
        calls: &[
            ("GDW", "Gdańsk Wrzeszcz", 0, 0, 0),
            ("GDG", "Gdańsk Główny", 4, 5, 3),
            ("POG", "Poznań Główny", 317, 205, 0),
        ],
        departures: &[395, 755, 995],
        departures_back: &[380, 740, 980],
    },
    Line {
        name: "Przemysław (night)",
        prefix: "IC",
        number: 83_201,
        template: "poland-intercity",
        time_zone: POLAND,
        calls: &[
            ("GDW", "Gdańsk Wrzeszcz", 0, 0, 0),
            ("GDG", "Gdańsk Główny", 4, 5, 5),
            ("POG", "Poznań Główny", 317, 225, 20),
            ("WAC", "Warszawa Centralna", 621, 430, 20),
            ("KRG", "Kraków Główny", 914, 615, 0),
        ],
        departures: &[21 * 60 + 40],
        departures_back: &[20 * 60 + 50],
    },
];

/// The demo's trains, running every day of the window.
pub fn demo(window: Window) -> Result<Seed, SeedError> {
    check_days(window)?;
    let templates = Templates::built_in()?;
    let mut trains = Vec::new();
    for line in &LINES {
        let template = templates.named(line.template)?;
        let there = line
            .departures
            .iter()
            .zip((line.number..).step_by(2))
            .map(|(minute, number)| (*minute, number, false));
        let back = line
            .departures_back
            .iter()
            .zip((line.number + 1..).step_by(2))
            .map(|(minute, number)| (*minute, number, true));
        trains.extend(there.chain(back).map(|(minute, number, is_back)| {
            template.dress(Timetabled {
                train_id: format!("{}{number}", line.prefix),
                name: line.name.to_owned(),
                time_zone: line.time_zone.to_owned(),
                running_dates: window.dates().collect(),
                route: if is_back {
                    line.route_back(minute)
                } else {
                    line.route(minute)
                },
                other_timetables: vec![],
            })
        }));
    }
    let mut notes = Notes::default();
    notes.say("the demonstration's trains, seats and fares are invented".to_owned());
    Seed::new(DEMONSTRATION.to_owned(), trains, BTreeSet::new(), notes)
}

impl Line {
    fn route(&self, minute: i32) -> Vec<Stop> {
        let calls = self.calls.iter();
        calls
            .map(|call| stop(call, minute + call.3, minute + call.3 + call.4, call.2))
            .collect()
    }

    /// The same times between stations, read from the other end.
    fn route_back(&self, minute: i32) -> Vec<Stop> {
        let Some((.., km, minutes, _)) = self.calls.last() else {
            return vec![];
        };
        let calls = self.calls.iter().rev();
        let stops = calls.map(|call| {
            let arrival = minute + minutes - (call.3 + call.4);
            stop(call, arrival, arrival + call.4, km - call.2)
        });
        stops.collect()
    }
}

fn stop(call: &Call, arrival: i32, departure: i32, km: i64) -> Stop {
    Stop {
        code: call.0.to_owned().into(),
        name: call.1.to_owned().into(),
        arrival_s: arrival * 60,
        departure_s: departure * 60,
        distance_m: km * 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        demo(Window { from: 20_788, days: 30 }).unwrap()
    }

    #[test]
    fn a_sleeper_has_720_berths_on_ten_stops_and_runs_past_midnight() {
        let seed = seed();
        let sleeper = seed.trains.iter().find(|train| train.train_id == "12951").unwrap();
        let seats = |class: &str| {
            let coaches = sleeper.coaches.iter().filter(|coach| coach.travel_class == class);
            let layouts = coaches.filter_map(|coach| sleeper.layouts.iter().find(|layout| layout.name == coach.layout));
            layouts.map(|layout| layout.seats).sum::<i32>()
        };
        assert_eq!((seats("SL"), seats("3A"), seats("2A")), (720, 256, 92));
        assert_eq!(
            (sleeper.route.len(), sleeper.route[9].arrival_s),
            (10, 32 * 3_600 + 32 * 60)
        );
        assert!(sleeper.quotas.iter().any(|quota| quota.quota == "TQ"));
        assert!(
            seed.trains.iter().all(|train| train.sale.is_empty()),
            "all of it is on sale"
        );
    }

    #[test]
    fn the_network_spans_two_countries() {
        let summary = seed().summary();
        assert_eq!(summary.train_dates, summary.trains * 30);
        assert_eq!(summary.currencies, ["INR", "PLN"].map(String::from).into());
        for class in ["SL", "3A", "2A", "CC", "EC", "FIRST", "SECOND"] {
            assert!(summary.classes.contains(class));
        }
        let seed = seed();
        let polish = seed
            .trains
            .iter()
            .filter(|train| train.currency == "PLN")
            .flat_map(|train| &train.route);
        let names: BTreeSet<&str> = polish.map(|stop| stop.name.as_str()).collect();
        let five = [
            "Gdańsk Główny",
            "Gdańsk Wrzeszcz",
            "Kraków Główny",
            "Poznań Główny",
            "Warszawa Centralna",
        ];
        assert_eq!(names, five.into());
    }

    #[test]
    fn a_train_back_takes_as_long_between_stations() {
        let seed = seed();
        let train = |id: &str| seed.trains.iter().find(|train| train.train_id == id).unwrap();
        let (there, back) = (train("12951"), train("12952"));
        let leg = |route: &[Stop], i: usize| {
            (
                route[i + 1].arrival_s - route[i].departure_s,
                route[i + 1].distance_m - route[i].distance_m,
            )
        };
        assert_eq!(
            (0..9).map(|i| leg(&there.route, i)).collect::<Vec<_>>(),
            (0..9).rev().map(|i| leg(&back.route, i)).collect::<Vec<_>>()
        );
        assert_eq!(back.route[0].departure_s, (16 * 60 + 55) * 60);
    }

    #[test]
    fn a_window_of_no_days_is_refused() {
        assert!(matches!(
            demo(Window { from: 1, days: 0 }),
            Err(SeedError::Days { days: 0 })
        ));
    }
}
