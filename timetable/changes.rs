//! Compares a seed with the plans on sale: plans that are new or changed, trains that are gone, and trains that run on
//! under another id.

use std::collections::{BTreeMap, HashMap};

use interlock_schemas::{Date, TrainService};

use crate::Seed;

/// A plan on sale.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct OnSale {
    pub plan: TrainService,
    /// Name of the feed that it came from; none if it was put on sale in another way.
    pub feed: Option<String>,
}

/// The differences of a seed from the plans on sale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Plans that are new or differ from those on sale; a plan that differs has the next version.
    pub changed: Vec<TrainService>,
    /// Trains on sale that came from the same feed, and that the feed no longer has.
    pub gone: Vec<String>,
    /// Trains that are gone and whose run the feed has under an id that is new: they are on sale twice.
    pub renamed: Vec<Renamed>,
}

/// A run under two ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Renamed {
    /// The id that is gone.
    pub old: String,
    /// The id that is new.
    pub new: String,
}

impl Changes {
    /// Compares a seed with the plans on sale. A train that ran for the last time before `from` isn't gone, but past.
    pub fn new(seed: &Seed, on_sale: &BTreeMap<String, OnSale>, from: Date) -> Changes {
        let is_in_feed = |id: &str| {
            let place = seed.trains.binary_search_by(|train| train.train_id.as_str().cmp(id));
            place.is_ok() || seed.idle.contains(id)
        };
        let is_gone = |(id, held): &(&String, &OnSale)| {
            let runs_later = held.plan.dates().last().is_some_and(|last| *last >= from);
            held.feed.as_deref() == Some(seed.feed.as_str()) && runs_later && !is_in_feed(id)
        };
        let gone: Vec<(&String, &OnSale)> = on_sale.iter().filter(is_gone).collect();
        Changes {
            changed: changed(seed, on_sale),
            renamed: renamed(seed, on_sale, &gone),
            gone: gone.into_iter().map(|(id, _)| id.clone()).collect(),
        }
    }
}

fn changed(seed: &Seed, on_sale: &BTreeMap<String, OnSale>) -> Vec<TrainService> {
    let newer = seed.trains.iter().filter_map(|plan| {
        let Some(held) = on_sale.get(plan.train_id.as_str()) else {
            return Some(plan.clone());
        };
        let mut plan = plan.clone();
        plan.version = held.plan.version;
        if plan == held.plan && held.feed.as_deref() == Some(seed.feed.as_str()) {
            return None;
        }
        plan.version += i64::from(plan != held.plan);
        Some(plan)
    });
    newer.collect()
}

/// A run: its stops with their times.
type Run<'a> = Vec<(&'a str, i32, i32)>;

/// Returns the runs of a train, each with its dates.
fn runs(plan: &TrainService) -> impl Iterator<Item = (Run<'_>, &[Date])> {
    plan.timetables().map(|(dates, route)| {
        let run = route
            .iter()
            .map(|stop| (stop.code.as_str(), stop.arrival_s, stop.departure_s));
        (run.collect(), dates)
    })
}

fn renamed(seed: &Seed, on_sale: &BTreeMap<String, OnSale>, gone: &[(&String, &OnSale)]) -> Vec<Renamed> {
    let mut new_by_run: HashMap<Run<'_>, Vec<(&TrainService, &[Date])>> = HashMap::new();
    let is_new = |train: &&TrainService| !on_sale.contains_key(train.train_id.as_str());
    for train in seed.trains.iter().filter(is_new) {
        for (run, dates) in runs(train) {
            new_by_run.entry(run).or_default().push((train, dates));
        }
    }
    let pairs = gone.iter().filter_map(|(id, held)| {
        let new = runs(&held.plan).find_map(|(run, held_dates)| {
            let shares_a_date = |(_, dates): &&(&TrainService, &[Date])| {
                dates.iter().any(|date| held_dates.binary_search(date).is_ok())
            };
            new_by_run.get(&run)?.iter().find(shares_a_date)
        });
        let (new, _) = new?;
        Some(Renamed {
            old: (*id).clone(),
            new: new.train_id.to_string(),
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Window, demo};

    const FROM: Date = 20_788;

    fn seed(from: Date) -> Seed {
        demo(Window { from, days: 2 }).unwrap()
    }

    fn on_sale(seed: &Seed) -> BTreeMap<String, OnSale> {
        let held = |plan: &TrainService| OnSale {
            plan: plan.clone(),
            feed: Some(seed.feed.clone()),
        };
        seed.trains
            .iter()
            .map(|plan| (plan.train_id.to_string(), held(plan)))
            .collect()
    }

    #[test]
    fn a_plan_is_written_once_and_again_with_the_next_version_when_it_has_changed() {
        let first = seed(FROM);
        let held = on_sale(&first);
        let all = Changes::new(&first, &BTreeMap::new(), FROM);
        assert_eq!((all.changed.len(), all.gone.len()), (first.trains.len(), 0));
        assert_eq!(Changes::new(&first, &held, FROM), Changes::default());
        let later = Changes::new(&seed(FROM + 1), &held, FROM);
        assert_eq!(later.changed.len(), first.trains.len());
        let is_next = |plan: &TrainService| plan.version == held[plan.train_id.as_str()].plan.version + 1;
        assert!(later.changed.iter().all(is_next));
    }

    #[test]
    fn a_train_that_the_feed_no_longer_has_is_gone() {
        let held = on_sale(&seed(FROM));
        let mut next = seed(FROM);
        next.trains
            .retain(|train| train.train_id != "12951" && train.train_id != "12952");
        next.idle.insert("12952".to_owned());
        let changes = Changes::new(&next, &held, FROM);
        assert_eq!(
            changes.gone,
            ["12951"],
            "the other is in the feed, and only doesn't run"
        );
        assert!(
            Changes::new(&next, &held, FROM + 2).gone.is_empty(),
            "it has run for the last time"
        );
        next.feed = "another".to_owned();
        assert!(
            Changes::new(&next, &held, FROM).gone.is_empty(),
            "another feed says nothing of it"
        );
    }

    #[test]
    fn the_same_run_under_a_new_id_is_noticed() {
        let held = on_sale(&seed(FROM));
        let mut next = seed(FROM);
        next.trains[0].train_id = "00001".into();
        let old = held.keys().next().unwrap().clone();
        let changes = Changes::new(&next, &held, FROM);
        let new = "00001".to_owned();
        assert_eq!(changes.renamed, [Renamed { old: old.clone(), new }]);
        assert_eq!(changes.gone, [old]);
        next.trains[0].route[0].departure_s += 60;
        assert!(Changes::new(&next, &held, FROM).renamed.is_empty());
    }
}
