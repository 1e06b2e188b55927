//! Open transactions for people and programs, and how one of them is to be ended.

use std::fmt;

use anyhow::{Result, ensure};
use chrono::Utc;
use interlock_gateway::json::instant_text;
use interlock_streams::log::kafka::OpenTransaction;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// An open transaction, and how much it holds back.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) transaction: OpenTransaction,
    /// One more than the last offset written to its partition.
    pub(crate) high: i64,
}

/// How a transaction is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// By its coordinator, which knows this `transactional.id`.
    Fence(&'a str),
    /// By a marker in its partition: no coordinator knows of it.
    Mark,
}

impl Open {
    /// Its name on the command line: `confirmed:3:4711`, topic, partition and producer.
    pub(crate) fn name(&self) -> String {
        let OpenTransaction {
            partition, producer_id, ..
        } = &self.transaction;
        format!("{}:{}:{producer_id}", partition.topic, partition.partition)
    }

    /// Since when, in milliseconds since the Unix epoch: of one that hangs, when its producer last wrote.
    fn since(&self) -> i64 {
        let coordinated = self.transaction.coordinated.as_ref();
        coordinated.map_or(self.transaction.last_timestamp, |known| known.started)
    }

    /// Offsets that readers of committed records don't get.
    fn held_back(&self) -> i64 {
        (self.high - self.transaction.start_offset).max(0)
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = (Utc::now().timestamp_millis() - self.since()).max(0) / 1000;
        let (since, held_back) = (instant_text(self.since()), self.held_back());
        let (at, epoch) = (self.transaction.start_offset, self.transaction.producer_epoch);
        write!(
            f,
            "{:<32}  since {since} ({age} s)  holds back {held_back} offsets from {at} on  epoch {epoch}  ",
            self.name()
        )?;
        match &self.transaction.coordinated {
            Some(known) => write!(f, "{} {}", known.state, known.transactional_id),
            None => write!(f, "hangs: no coordinator knows of it"),
        }
    }
}

impl Serialize for Open {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OpenTransaction {
            partition,
            start_offset,
            producer_id,
            producer_epoch,
            coordinated,
            ..
        } = &self.transaction;
        let mut open = serializer.serialize_struct("Open", 10)?;
        open.serialize_field("name", &self.name())?;
        open.serialize_field("topic", &*partition.topic)?;
        open.serialize_field("partition", &partition.partition)?;
        open.serialize_field("start_offset", start_offset)?;
        open.serialize_field("held_back", &self.held_back())?;
        open.serialize_field("producer_id", producer_id)?;
        open.serialize_field("producer_epoch", producer_epoch)?;
        open.serialize_field("since", &instant_text(self.since()))?;
        let known = coordinated.as_ref();
        open.serialize_field("transactional_id", &known.map(|known| &known.transactional_id))?;
        open.serialize_field("state", &known.map_or("Hanging", |known| known.state.as_str()))?;
        open.end()
    }
}

/// How this one is ended; refused where it is not known to be this application's, unless that is asked for.
pub(crate) fn end<'a>(open: &'a Open, application: &str, foreign: bool) -> Result<End<'a>> {
    let OpenTransaction {
        partition, coordinated, ..
    } = &open.transaction;
    match coordinated {
        Some(known) => {
            let id = known.transactional_id.as_str();
            let own = id.strip_prefix(application).is_some_and(|rest| rest.starts_with('-'));
            ensure!(
                own || foreign,
                "{id} is not a transactional.id of application {application}; if it is to be fenced all the same: --foreign"
            );
            Ok(End::Fence(id))
        }
        None => {
            ensure!(
                !partition.topic.starts_with("__") || foreign,
                "{partition} is shared with others, and whose this transaction is can't be told; if it is to be ended all the \
                 same: --foreign"
            );
            Ok(End::Mark)
        }
    }
}

#[cfg(test)]
mod tests {
    use interlock_streams::log::kafka::Coordinated;
    use interlock_streams::record::TopicPartition;

    use super::*;

    fn open(topic: &str, transactional_id: Option<&str>) -> Open {
        let coordinated = transactional_id.map(|id| Coordinated {
            transactional_id: id.to_owned(),
            state: "Ongoing".to_owned(),
            started: 1_700_000_000_000,
        });
        let transaction = OpenTransaction {
            partition: TopicPartition::new(topic, 3),
            start_offset: 120,
            producer_id: 4711,
            producer_epoch: 2,
            coordinator_epoch: -1,
            last_timestamp: 1_700_000_060_000,
            coordinated,
        };
        Open { transaction, high: 165 }
    }

    #[test]
    fn one_of_ours_is_fenced_and_a_hanging_one_is_marked() {
        let ours = open("confirmed", Some("interlock-booking-a-0"));
        assert_eq!(
            end(&ours, "interlock", false).unwrap(),
            End::Fence("interlock-booking-a-0")
        );
        assert_eq!(end(&open("confirmed", None), "interlock", false).unwrap(), End::Mark);
    }

    #[test]
    fn what_may_be_somebody_elses_is_left_alone_unless_asked_for() {
        for id in ["other-booking-a-0", "interlock2-booking-a-0", "interlock"] {
            let theirs = open("confirmed", Some(id));
            let error = end(&theirs, "interlock", false).unwrap_err().to_string();
            assert!(error.contains("--foreign") && error.contains(id), "{error}");
            assert_eq!(end(&theirs, "interlock", true).unwrap(), End::Fence(id));
        }
        let shared = open("__consumer_offsets", None);
        assert!(end(&shared, "interlock", false).is_err());
        assert_eq!(end(&shared, "interlock", true).unwrap(), End::Mark);
    }

    #[test]
    fn it_is_told_what_is_held_back_and_since_when() {
        let known = open("confirmed", Some("interlock-booking-a-0")).to_string();
        for word in [
            "confirmed:3:4711",
            "2023-11-14T22:13:20.000Z",
            "45 offsets from 120",
            "Ongoing interlock-booking-a-0",
        ] {
            assert!(known.contains(word), "{known}");
        }
        let hanging = open("confirmed", None);
        assert!(hanging.to_string().contains("2023-11-14T22:14:20.000Z"), "{hanging}");
        let json = serde_json::to_value(&hanging).unwrap();
        assert_eq!((&json["state"], &json["held_back"]), (&"Hanging".into(), &45.into()));
    }
}
