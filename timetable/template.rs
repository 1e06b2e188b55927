//! Adds to a timetable what it lacks: coaches, quotas, fares and refunds, from `template.toml` or a file of that form.

use std::path::Path;

use interlock_inventory::Plan;
use interlock_schemas::{
    Allocation, Coach, Date, Fare, Layout, PromotionPolicy, Quota, RefundBand, SaleWindow, Stop, Timetable,
    TrainService, WaitlistCap,
};
use serde::Deserialize;

use super::SeedError;

const BUILT_IN: &str = include_str!("template.toml");
const BUILT_IN_NAME: &str = "timetable/template.toml (compiled in)";
/// Plans count their versions from here.
const FIRST_VERSION: i64 = 1;

/// Templates, in the order in which they are tried.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    #[serde(rename = "template")]
    list: Vec<Template>,
}

/// The coaches and prices for the trains of some trips.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    pub(crate) name: String,
    /// Time zones it is for; none: all.
    #[serde(default)]
    time_zones: Vec<String>,
    /// GTFS route types it is for; none: all.
    #[serde(default)]
    route_types: Vec<i16>,
    currency: String,
    layouts: Vec<Layout>,
    coaches: Vec<CoachGroup>,
    #[serde(default)]
    quotas: Vec<Quota>,
    fares: Vec<Fare>,
    refund_bands: Vec<RefundBand>,
    #[serde(default)]
    waitlist_caps: Vec<WaitlistCap>,
    #[serde(default)]
    sale: Vec<SaleWindow>,
    #[serde(default)]
    allocation: Allocation,
    #[serde(default)]
    promotion: PromotionPolicy,
}

/// Coaches of one kind, `S1`, `S2`, …
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoachGroup {
    prefix: String,
    count: usize,
    class: String,
    layout: String,
}

/// The facts about a train that a timetable contains.
#[derive(Clone, Debug)]
pub(crate) struct Timetabled {
    pub(crate) train_id: String,
    pub(crate) name: String,
    pub(crate) time_zone: String,
    pub(crate) running_dates: Vec<Date>,
    pub(crate) route: Vec<Stop>,
    pub(crate) other_timetables: Vec<Timetable>,
}

impl Templates {
    /// Those that are compiled in.
    pub fn built_in() -> Result<Templates, SeedError> {
        Templates::parse(BUILT_IN, BUILT_IN_NAME)
    }

    /// Those of a file.
    pub fn from_file(path: &Path) -> Result<Templates, SeedError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| SeedError::Template {
            file: file.clone(),
            problem: error.to_string(),
        })?;
        Templates::parse(&text, &file)
    }

    fn parse(text: &str, file: &str) -> Result<Templates, SeedError> {
        let wrong = |problem: String| SeedError::Template {
            file: file.to_owned(),
            problem,
        };
        let templates: Templates = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if templates.list.is_empty() {
            return Err(wrong("it holds no [[template]]".into()));
        }
        for template in &templates.list {
            let problem = |error| wrong(format!("template `{}`: {error}", template.name));
            Plan::compile(template.dress(probe())).map_err(problem)?;
        }
        Ok(templates)
    }

    /// The first template for a trip.
    pub(crate) fn select(&self, route_type: i16, time_zone: &str) -> Option<&Template> {
        self.list.iter().find(|template| template.is_for(route_type, time_zone))
    }

    /// The template of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Template, SeedError> {
        let found = self.list.iter().find(|template| template.name == name);
        found.ok_or_else(|| SeedError::Template {
            file: BUILT_IN_NAME.into(),
            problem: format!("it holds no template `{name}`"),
        })
    }
}

impl Template {
    fn is_for(&self, route_type: i16, time_zone: &str) -> bool {
        let types = &self.route_types;
        let type_fits = types.is_empty() || types.contains(&route_type) || types.contains(&basic_type(route_type));
        type_fits && (self.time_zones.is_empty() || self.time_zones.iter().any(|zone| zone == time_zone))
    }

    /// The plan of a train.
    pub(crate) fn dress(&self, train: Timetabled) -> TrainService {
        TrainService {
            train_id: train.train_id.into(),
            name: train.name.into(),
            version: FIRST_VERSION,
            time_zone: train.time_zone.into(),
            running_dates: train.running_dates,
            route: train.route,
            other_timetables: train.other_timetables,
            layouts: self.layouts.clone(),
            coaches: self.coaches.iter().flat_map(CoachGroup::coaches).collect(),
            quotas: self.quotas.clone(),
            fares: self.fares.clone(),
            refund_bands: self.refund_bands.clone(),
            waitlist_caps: self.waitlist_caps.clone(),
            sale: self.sale.clone(),
            allocation: self.allocation,
            promotion: self.promotion,
            currency: self.currency.clone().into(),
        }
    }
}

impl CoachGroup {
    fn coaches(&self) -> impl Iterator<Item = Coach> {
        (1..=self.count).map(|number| Coach {
            name: format!("{}{number}", self.prefix).into(),
            travel_class: self.class.clone().into(),
            layout: self.layout.clone().into(),
        })
    }
}

/// The basic route type that an extended one refines: 100–199 rail, 400–499 metro, 900–999 tram.
fn basic_type(route_type: i16) -> i16 {
    match route_type / 100 {
        1 => 2,
        4 => 1,
        9 => 0,
        _ => route_type,
    }
}

/// The shortest valid timetable: whatever the plan compiler then finds is the template's.
fn probe() -> Timetabled {
    let stop = |(code, distance_m): (&str, i64)| Stop {
        code: code.into(),
        name: code.into(),
        arrival_s: 0,
        departure_s: 0,
        distance_m,
    };
    Timetabled {
        train_id: "template".into(),
        name: "template".into(),
        time_zone: "UTC".into(),
        running_dates: vec![],
        route: [("A", 0), ("B", 1_000)].map(stop).into(),
        other_timetables: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(route_type: i16, time_zone: &str) -> String {
        let templates = Templates::built_in().unwrap();
        templates.select(route_type, time_zone).unwrap().name.clone()
    }

    #[test]
    fn the_first_template_that_matches_is_taken() {
        assert_eq!(selected(2, "Europe/Warsaw"), "poland-regional");
        assert_eq!(selected(106, "Europe/Warsaw"), "poland-regional", "106 is a kind of 2");
        assert_eq!(selected(2, "Asia/Kolkata"), "india-sleeper");
        assert_eq!(selected(2, "Europe/Berlin"), "europe");
    }

    #[test]
    fn mistakes_are_named_before_a_train_is_made() {
        let wrong = BUILT_IN.replacen("layout = \"EMU72\"", "layout = \"EMU73\"", 1);
        let error = Templates::parse(&wrong, "mine.toml").unwrap_err().to_string();
        assert!(
            error.contains("mine.toml") && error.contains("poland-regional") && error.contains("EMU73"),
            "{error}"
        );
        let error = Templates::parse("template = []", "mine.toml").unwrap_err().to_string();
        assert!(error.contains("no [[template]]"), "{error}");
        let error = Templates::from_file(Path::new("/nowhere.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere.toml"), "{error}");
    }
}
