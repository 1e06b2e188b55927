//! Compares a seed with the plans on sale.

use std::collections::BTreeMap;

use interlock_schemas::TrainService;

/// Returns the plans that differ from those on sale; a plan that has changed gets the next version.
pub fn changed(trains: Vec<TrainService>, on_sale: &BTreeMap<String, TrainService>) -> Vec<TrainService> {
    let newer = trains.into_iter().filter_map(|mut plan| {
        if let Some(old) = on_sale.get(plan.train_id.as_str()) {
            plan.version = old.version;
            if plan == *old {
                return None;
            }
            plan.version += 1;
        }
        Some(plan)
    });
    newer.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Window, demo};

    #[test]
    fn a_plan_is_written_once_and_again_with_the_next_version_when_it_has_changed() {
        let trains = demo(Window { from: 20_788, days: 2 }).unwrap().trains;
        let on_sale: BTreeMap<_, _> = trains
            .iter()
            .map(|plan| (plan.train_id.to_string(), plan.clone()))
            .collect();
        assert_eq!(changed(trains.clone(), &BTreeMap::new()).len(), trains.len());
        assert!(changed(trains.clone(), &on_sale).is_empty());
        let later = demo(Window { from: 20_789, days: 2 }).unwrap().trains;
        let changed = changed(later, &on_sale);
        assert_eq!(changed.len(), trains.len());
        assert!(
            changed
                .iter()
                .all(|plan| plan.version == on_sale[plan.train_id.as_str()].version + 1)
        );
    }
}
