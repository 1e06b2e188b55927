//! States which column of a panel must add up to which total. Columns are matched by name, so a column named "gross"
//! must show the gross.
//!
//! | columns | rule |
//! | --- | --- |
//! | `gross`, `seats sold`, … | the sum over all rows is the total |
//! | `net so far`, … | the last row of each series, summed over the series, is the total |
//! | `load factor`, `average fare` | in each row the quotient of the row's own columns, where it has them; in a single row without them, the quotient of the totals |

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::totals::Totals;

type Row = Map<String, Value>;

/// Panels without a comparable figure, and the reasons.
const WITHOUT_TOTAL: [&str; 2] = [
    "Average fare by class (${currency})", // quotients of an interval and class
    "Pace of the ten fullest",             // ten of many
];

pub(super) fn has_no_total(title: &str) -> bool {
    WITHOUT_TOTAL.contains(&title)
}

/// Compares all comparable figures; returns their number and the problems found.
pub(super) fn compare(
    rows: &[Row],
    expected: &Totals,
    currency: &str,
    units: &BTreeMap<String, i64>,
) -> (usize, Vec<String>) {
    let is_figure = |value: &Value| value.is_number();
    if !rows
        .iter()
        .any(|row| row.iter().any(|(name, value)| name != "time" && is_figure(value)))
    {
        return (0, vec!["no rows".into()]);
    }
    let mut figures = 0;
    let mut wrong = Vec::new();
    let columns: Vec<&String> = rows.iter().take(1).flat_map(Row::keys).collect();
    for (rows, currency) in by_currency(rows, currency) {
        let per_unit = units.get(currency).copied().unwrap_or(100);
        for column in &columns {
            if let Some((total, scale)) = total_of(column, expected, currency, per_unit) {
                figures += 1;
                match shown(&rows, column, scale) {
                    Ok(shown) if shown == i128::from(total) => {}
                    Ok(shown) => wrong.push(format!("{column} adds up to {shown}, expected {total} (×1/{scale})")),
                    Err(reason) => wrong.push(format!("{column}: {reason}")),
                }
            }
            let quotients = quotients(&rows, column, expected, currency, per_unit);
            figures += quotients.len();
            for (shown, due) in quotients {
                if shown.is_none_or(|shown| (shown - due).abs() > 0.0051) {
                    wrong.push(format!("{column} is {shown:?}, expected {due:.2}"));
                }
            }
        }
    }
    (figures, wrong)
}

/// Groups rows by currency if the table has one; otherwise all rows belong to the chosen one.
fn by_currency<'a>(rows: &'a [Row], chosen: &'a str) -> Vec<(Vec<&'a Row>, &'a str)> {
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let currency = row.get("currency").and_then(Value::as_str).unwrap_or(chosen);
        groups.entry(currency).or_default().push(row);
    }
    groups.into_iter().map(|(currency, rows)| (rows, currency)).collect()
}

/// Returns the total that a column adds up to, and how many of its units make one displayed unit.
fn total_of(column: &str, all: &Totals, currency: &str, per_unit: i64) -> Option<(i64, i64)> {
    let money = all.money.get(currency).copied().unwrap_or_default();
    Some(match column {
        "gross" => (money.collected_minor, per_unit),
        "refunds" => (money.refunded_minor, per_unit),
        "net" | "net so far" => (money.collected_minor - money.refunded_minor, per_unit),
        "bookings" => (money.bookings, 1),
        "passengers" => (money.passengers, 1),
        "seats sold" | "seats sold so far" => (all.seats_sold, 1),
        "seats" => (all.seats, 1),
        "seat-km sold" => (all.seat_metres_sold, 1_000),
        "seat-km offered" => (all.seat_metres_offered, 1_000),
        "waiting" | "waiting so far" => (all.waiting, 1),
        "train-dates" => (all.train_dates, 1),
        "confirmed" => (all.confirmed, 1),
        "promoted" => (all.promoted, 1),
        "released" => (all.released, 1),
        "waitlisted" => (all.waitlisted, 1),
        "rejected" => (all.rejected, 1),
        "refused requests" => (all.refused_requests, 1),
        _ => return None,
    })
}

/// Returns the exact sum of a column in the smallest units.
fn shown(rows: &[&Row], column: &str, scale: i64) -> Result<i128, String> {
    let mut last_of_series: BTreeMap<Vec<String>, i128> = BTreeMap::new();
    let mut sum = 0;
    for row in rows {
        let value = row.get(column).and_then(Value::as_f64).unwrap_or(0.0) * scale as f64;
        if (value - value.round()).abs() > 1e-3 {
            return Err(format!("{value} of the smallest units is not a whole number of them"));
        }
        let value = value.round() as i128;
        sum += value;
        last_of_series.insert(series(row), value);
    }
    let so_far = column.ends_with(" so far");
    Ok(if so_far { last_of_series.values().sum() } else { sum })
}

/// Returns the key of a series in a graph: the texts of a row without its time.
fn series(row: &Row) -> Vec<String> {
    let labels = row.iter().filter(|(name, value)| *name != "time" && value.is_string());
    labels.map(|(_, value)| value.to_string()).collect()
}

/// Returns displayed and expected quotients, with two decimals each.
fn quotients(rows: &[&Row], column: &str, all: &Totals, currency: &str, per_unit: i64) -> Vec<(Option<f64>, f64)> {
    let money = all.money.get(currency).copied().unwrap_or_default();
    let (own, factor, of_totals) = match column {
        "load factor" | "load factor so far" => (
            ("seat-km sold", "seat-km offered"),
            100.0,
            (all.seat_metres_sold as f64, all.seat_metres_offered as f64),
        ),
        "average fare" => (
            ("gross", "passengers"),
            1.0,
            (money.collected_minor as f64 / per_unit as f64, money.passengers as f64),
        ),
        _ => return vec![],
    };
    let figure = |row: &Row, name: &str| row.get(name).and_then(Value::as_f64);
    // A half that the database rounds up may be a hair less as a binary fraction.
    let rounded = |(above, below): (f64, f64)| (above * factor / below * 100.0 + 1e-6).round() / 100.0;
    let of_row = |row: &&Row| {
        let parts = (figure(row, own.0)?, figure(row, own.1)?);
        (parts.1 != 0.0).then(|| (figure(row, column), rounded(parts)))
    };
    let of_rows: Vec<_> = rows.iter().filter_map(of_row).collect();
    match rows {
        [.., last] if of_rows.is_empty() && (rows.len() == 1 || column.ends_with(" so far")) => {
            vec![(figure(last, column), rounded(of_totals))]
        }
        _ => of_rows,
    }
}

#[cfg(test)]
mod tests {
    use super::super::totals::Money;
    use super::*;

    fn totals() -> Totals {
        let money = |collected_minor, refunded_minor, passengers| Money {
            collected_minor,
            refunded_minor,
            bookings: 1,
            passengers,
        };
        Totals {
            money: [
                ("INR".to_owned(), money(30_001, 1, 2)),
                ("JPY".to_owned(), money(500, 0, 1)),
            ]
            .into(),
            seats_sold: 3,
            seat_metres_sold: 500,
            seat_metres_offered: 2_000,
            ..Totals::default()
        }
    }

    fn check(rows: &str) -> (usize, Vec<String>) {
        let rows: Vec<Row> = serde_json::from_str(rows).unwrap();
        let units = [("INR".to_owned(), 100), ("JPY".to_owned(), 1)].into();
        compare(&rows, &totals(), "INR", &units)
    }

    #[test]
    fn sums_are_compared_to_the_minor_unit() {
        assert_eq!(
            check(r#"[{"gross": 100.01, "net": 100.00}, {"gross": 200, "net": 200}]"#),
            (2, vec![])
        );
        let (figures, wrong) = check(r#"[{"gross": 300.02}]"#);
        assert_eq!((figures, wrong.len()), (1, 1), "{wrong:?}");
        assert!(wrong[0].contains("30002"), "{wrong:?}");
        assert_eq!(check(r#"[{"gross": 300.005}]"#).1.len(), 1);
    }

    #[test]
    fn currencies_are_apart() {
        let both = r#"[{"currency": "INR", "gross": 300.01}, {"currency": "JPY", "gross": 500}]"#;
        assert_eq!(check(both), (2, vec![]));
        assert_eq!(check(r#"[{"currency": "JPY", "gross": 5.00}]"#).1.len(), 1);
    }

    #[test]
    fn of_what_accumulates_the_last_row_counts() {
        let rows = r#"[{"time": "1", "class": "SL", "seats sold so far": 1}, {"time": "2", "class": "SL", "seats sold so far": 2},
                       {"time": "1", "class": "3A", "seats sold so far": 1}]"#;
        assert_eq!(check(rows), (1, vec![]));
        assert_eq!(check(&rows.replace("2}", "3}")).1.len(), 1);
    }

    #[test]
    fn quotients_follow_from_their_row_or_from_the_totals() {
        assert_eq!(check(r#"[{"load factor": 25}]"#), (1, vec![]));
        assert_eq!(check(r#"[{"load factor": 25.02}]"#).1.len(), 1);
        assert_eq!(check(r#"[{"average fare": 150.01}]"#), (1, vec![]));
        assert_eq!(
            check(r#"[{"class": "SL", "average fare": 1}, {"class": "3A", "average fare": 2}]"#),
            (0, vec![])
        );
        let row = r#"[{"load factor": 50.0, "seat-km sold": 0.5, "seat-km offered": 2}]"#;
        assert_eq!(check(row).1.len(), 1);
    }

    #[test]
    fn nothing_shown_is_wrong() {
        for rows in ["[]", r#"[{"gross": null}]"#, r#"[{"time": 1, "gross": null}]"#] {
            assert_eq!(check(rows), (0, vec!["no rows".to_owned()]), "{rows}");
        }
    }
}
