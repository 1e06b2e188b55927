//! Tests letters in an in-process log: they are found, distinguished, and sent again once.

use bytes::Bytes;
use interlock_schemas::topics::{BOOKING_REQUESTS, CONFIRMED};
use interlock_streams::dead_letter::{self, DEAD_LETTER_BYTES_MAX};
use interlock_streams::log::TopicSpec;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::murmur2::partition_for_key;

use super::*;

const PARTITIONS: i32 = 4;
const ID: &str = "app-dlq-replay";

struct World {
    log: MemoryLog,
    letters: DeadLetters,
}

impl World {
    async fn new(topic: &str) -> Self {
        let log = MemoryLog::new();
        let specs = [topic.to_owned(), dlq(topic)].map(|name| TopicSpec::new(name, PARTITIONS));
        log.create_topics(&specs).await.unwrap();
        let letters = DeadLetters::open(Arc::new(log.clone()), &dlq(topic)).await.unwrap();
        Self { log, letters }
    }

    /// A letter of a record with this key and as many bytes of value, read at partition 1.
    fn bury(&self, reason: &str, key: Option<&str>, bytes: usize, timestamp: i64) -> Place {
        let record = Record {
            offset: 100 + timestamp,
            timestamp,
            key: key.map(|key| Bytes::from(key.to_owned())),
            value: Some(Bytes::from(vec![7; bytes])),
            headers: vec![
                ("theirs".into(), Some(Bytes::from_static(b"h"))),
                ("theirs".into(), None),
            ],
        };
        let source = TopicPartition::new(self.letters.source_topic(), 1);
        let letter = dead_letter::compose(&source, &record, reason, "it is so");
        let (partition, offset) = self.log.append(vec![letter]).unwrap()[0];
        Place { partition, offset }
    }

    async fn resend(&self, order: &Order) -> crate::Result<Vec<Resent>> {
        let mut sent = Vec::new();
        let tell = |resent| {
            sent.push(resent);
            Ok(())
        };
        resend(&self.letters, ID, order, tell).await?;
        Ok(sent)
    }

    async fn refused(&self, order: &Order, word: &str) {
        let before = self.arrived().len();
        let error = format!("{:#}", self.resend(order).await.unwrap_err());
        assert!(error.contains(word), "{error}");
        assert_eq!(self.arrived().len(), before, "something was sent: {error}");
    }

    /// Returns the records in the topic that the letters came from.
    fn arrived(&self) -> Vec<(i32, Record)> {
        let read = |partition| {
            let source = TopicPartition::new(self.letters.source_topic(), partition);
            let records = self.log.read(&source, 0, 1000).unwrap();
            records.into_iter().map(move |record| (partition, record))
        };
        (0..PARTITIONS).flat_map(read).collect()
    }
}

fn these(places: &[Place]) -> Order {
    Order {
        choice: Choice::These(places.to_vec()),
        mended: None,
        again: false,
    }
}

fn all(reason: Option<&str>) -> Order {
    Order {
        choice: Choice::All(reason.map(str::to_owned)),
        mended: None,
        again: false,
    }
}

#[test]
fn a_place_is_two_numbers() {
    assert_eq!(
        "3:17".parse(),
        Ok(Place {
            partition: 3,
            offset: 17
        })
    );
    for wrong in ["", "3", "3:", ":17", "-1:0", "1:-5", "a:b", "1:2:3"] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_newest_come_last_and_what_was_sent_again_is_marked() {
    let world = World::new(BOOKING_REQUESTS).await;
    let late = world.bury("undecodable", Some("12951|2026-12-01"), 3, 20);
    let early = world.bury("processing", None, 3, 10);
    world.resend(&these(&[late])).await.unwrap();

    let lines = world.letters.list(None).await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.offset, line.sent_again)).collect();
    assert_eq!(told, [(early.offset, false), (late.offset, true)]);
    let told = (&*lines[1].reason, lines[1].key.as_deref(), &*lines[1].message);
    assert_eq!(told, ("undecodable", Some("12951|2026-12-01"), "it is so"));
    let source = (
        &*lines[1].source_topic,
        lines[1].source_partition,
        lines[1].source_offset,
    );
    assert_eq!(source, ("booking-requests", 1, 120));
    let newest = world.letters.list(Some(1)).await.unwrap();
    assert_eq!(newest, lines[1..]);
}

#[tokio::test]
async fn a_record_goes_back_as_it_was_to_the_partition_of_its_key() {
    let world = World::new(BOOKING_REQUESTS).await;
    let keyed = world.bury("undecodable", Some("12951|2026-12-01"), 3, 0);
    let keyless = world.bury("undecodable", None, 4, 1);
    let home = partition_for_key(b"12951|2026-12-01", PARTITIONS);
    let sent = world.resend(&these(&[keyless, keyed])).await.unwrap();
    assert_eq!(
        sent,
        [Resent { place: keyed, to: home }, Resent { place: keyless, to: 1 }]
    );

    let arrived = world.arrived();
    let (_, record) = arrived.iter().find(|(_, record)| record.key.is_some()).unwrap();
    assert_eq!(record.value.as_deref(), Some(&[7, 7, 7][..]));
    let headers: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.as_deref()))
        .collect();
    let from = format!("booking-requests.dlq[1]@{}", keyed.offset);
    assert_eq!(
        headers,
        [
            ("theirs", Some(&b"h"[..])),
            ("theirs", None),
            ("__streams.resent.from", Some(from.as_bytes()))
        ]
    );
}

#[tokio::test]
async fn a_letter_is_sent_once_unless_it_is_asked_for() {
    let world = World::new(BOOKING_REQUESTS).await;
    let places = [0, 1, 2].map(|time| world.bury("undecodable", Some("k"), 3, time));
    world.resend(&these(&places[..1])).await.unwrap();
    world.refused(&these(&places), "was sent again before").await;

    let rest = world.resend(&all(None)).await.unwrap();
    assert_eq!(rest.iter().map(|sent| sent.place).collect::<Vec<_>>(), places[1..]);
    assert_eq!(world.resend(&all(None)).await.unwrap(), []);

    let again = Order {
        again: true,
        ..these(&places[..1])
    };
    assert_eq!(world.resend(&again).await.unwrap().len(), 1);
    assert_eq!(world.arrived().len(), 4);
    assert!(world.letters.find(places[1]).await.unwrap().is_sent_again);
}

#[tokio::test]
async fn of_two_at_the_same_time_the_second_ends_the_first_and_nothing_is_sent_twice() {
    let world = World::new(BOOKING_REQUESTS).await;
    let place = world.bury("undecodable", Some("k"), 3, 0);
    let target = TopicPartition::new(BOOKING_REQUESTS, partition_for_key(b"k", PARTITIONS));
    world.log.hold_commits(ID);
    let second = async {
        // The first has sent, and its commit is on its way.
        while world.log.watermarks(&target).await.unwrap().1 == 0 {
            tokio::task::yield_now().await;
        }
        drop(world.log.producer(ID).await.unwrap());
        world.log.release_commits(ID);
    };
    let order = these(&[place]);
    let ((), ()) = tokio::join!(world.refused(&order, "shows which were"), second);
    assert!(!world.letters.find(place).await.unwrap().is_sent_again);
    assert_eq!(world.resend(&these(&[place])).await.unwrap().len(), 1);
    assert_eq!(world.arrived().len(), 1);
}

#[tokio::test]
async fn many_letters_are_several_transactions() {
    let world = World::new(BOOKING_REQUESTS).await;
    for time in 0..450 {
        world.bury("undecodable", Some("k"), 10, time);
    }
    assert_eq!(world.resend(&all(None)).await.unwrap().len(), 450);
    assert_eq!(world.arrived().len(), 450);
    assert!(
        world
            .letters
            .list(None)
            .await
            .unwrap()
            .iter()
            .all(|line| line.sent_again)
    );
}

#[tokio::test]
async fn a_reason_chooses() {
    let world = World::new(BOOKING_REQUESTS).await;
    world.bury("undecodable", Some("k"), 3, 0);
    let wanted = world.bury("processing", Some("k"), 3, 1);
    let sent = world.resend(&all(Some("processing"))).await.unwrap();
    assert_eq!(sent.iter().map(|sent| sent.place).collect::<Vec<_>>(), [wanted]);
}

#[tokio::test]
async fn what_the_letter_does_not_hold_needs_a_mended_record() {
    let world = World::new(BOOKING_REQUESTS).await;
    let long = world.bury("undecodable", Some("k"), DEAD_LETTER_BYTES_MAX + 1, 0);
    world.refused(&these(&[long]), "--value").await;
    assert_eq!(world.resend(&all(None)).await.unwrap(), []);

    let mended = Mended {
        key: "12951|2026-12-01".to_owned(),
        value: b"good".to_vec(),
    };
    let order = Order {
        mended: Some(mended),
        ..these(&[long])
    };
    let home = partition_for_key(b"12951|2026-12-01", PARTITIONS);
    assert_eq!(world.resend(&order).await.unwrap(), [Resent { place: long, to: home }]);
    let (_, record) = &world.arrived()[0];
    assert_eq!(record.value.as_deref(), Some(&b"good"[..]));
}

#[tokio::test]
async fn what_is_no_letter_is_named() {
    let world = World::new(BOOKING_REQUESTS).await;
    let place = world.bury("undecodable", Some("k"), 3, 0);
    world.resend(&these(&[place])).await.unwrap();
    let at = |partition, offset| Place { partition, offset };
    // The mark, what is past the end, an empty partition, one that doesn't exist.
    for nothing in [at(1, place.offset + 1), at(1, 999), at(0, 0), at(PARTITIONS, 0)] {
        let found = world.letters.find(nothing).await;
        let error = format!("{:#}", found.err().unwrap());
        assert!(error.contains(&format!("no dead letter at {nothing}")), "{error}");
        let both = [place, nothing];
        let order = Order {
            again: true,
            ..these(&both)
        };
        world.refused(&order, &nothing.to_string()).await;
    }
}

#[tokio::test]
async fn events_are_never_sent_again() {
    let world = World::new(CONFIRMED).await;
    let place = world.bury("undecodable", Some("k"), 3, 0);
    world.refused(&these(&[place]), "topologies alone").await;
    world.refused(&all(None), "topologies alone").await;
}
