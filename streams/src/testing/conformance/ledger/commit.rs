//! Committing batches, reading them back, and refusals that change nothing.

use bytes::Bytes;

use super::{
    LEDGER, acquire, assert_behind, assert_fenced, batch, bytes, commit_next, delete, entry, everything, expected,
    fields, lineage, log, set, state, token,
};
use crate::ledger::{FieldWrite, Holder, LedgerCommit, LedgerState, LedgerStore, LogEntry, RebuildStep};

/// Fields are set and deleted, the log has the batch, the state says who decided up to where.
pub async fn applies_fields_log_and_state(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let first = vec![set("d1", "f1", "1"), set("d1", "f2", "2"), set("d2", "f1", "3")];
    commit_next(store, &holder, 3, first).await;
    let second = vec![
        set("d1", "f1", "10"),
        delete("d1", "f2"),
        set("d1", "f3", ""),
        delete("d3", "never there"),
    ];
    let mut second = batch(store, &holder, 5, second).await;
    second.lineage = lineage(&[(1, "a"), (5, "a"), (7, "b c|\"d\"")]);
    store.commit(&holder, &second).await.expect("commit");

    assert_eq!(fields(store, "d1").await, expected(&[("f1", "10"), ("f3", "")]));
    assert_eq!(fields(store, "d2").await, expected(&[("f1", "3")]));
    assert!(fields(store, "d3").await.is_empty());
    assert_eq!(log(store).await, [entry(3), entry(5)]);
    let now = state(store).await;
    let expected = LedgerState {
        epoch: 1,
        token: token("a"),
        version: 2,
        applied: Some(5),
        sequence: 6,
        lineage: second.lineage,
        chain: Some(second.chain),
        owners: vec!["w1".to_owned()],
        index: now.index.clone(),
        ..LedgerState::default()
    };
    assert_eq!(now, expected);
}

/// A batch may write the same field several times: in order.
pub async fn last_write_to_a_field_wins(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let writes = vec![
        set("d", "set twice", "1"),
        set("d", "set twice", "2"),
        set("d", "set, deleted", "1"),
        delete("d", "set, deleted"),
        delete("d", "deleted, set"),
        set("d", "deleted, set", "1"),
        set("gone", "f", "1"),
        delete("gone", "f"),
    ];
    commit_next(store, &holder, 0, writes).await;
    assert_eq!(
        fields(store, "d").await,
        expected(&[("deleted, set", "1"), ("set twice", "2")])
    );
    assert!(fields(store, "gone").await.is_empty());
}

/// There is no difference between a document without fields and none.
pub async fn document_without_fields_is_empty(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 0, vec![set("d", "f", "v")]).await;
    commit_next(store, &holder, 1, vec![delete("d", "f")]).await;
    assert!(fields(store, "d").await.is_empty());
    commit_next(store, &holder, 2, vec![set("d", "g", "w")]).await;
    assert_eq!(fields(store, "d").await, expected(&[("g", "w")]));
}

/// Also those that aren't there and those asked for twice.
pub async fn documents_are_loaded_in_the_order_asked_for(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let writes = (0..300).map(|i| set(&format!("d{i}"), "f", &i.to_string())).collect();
    commit_next(store, &holder, 0, writes).await;
    let numbers: Vec<i32> = (0..310).rev().chain([5, 5]).collect();
    let names: Vec<Bytes> = numbers.iter().map(|i| bytes(&format!("d{i}"))).collect();
    let loaded = store.load(LEDGER, &names, None).await.expect("load");
    assert_eq!(loaded.len(), names.len());
    for (number, loaded) in numbers.iter().zip(loaded) {
        let there = if *number < 300 {
            expected(&[("f", &number.to_string())])
        } else {
            Vec::new()
        };
        assert_eq!(loaded.fields, there, "document d{number}");
    }
}

/// Of lazy fields the names come with the document, and the values one by one.
pub async fn values_of_lazy_fields_are_left_out_until_asked_for(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let many = |document: &'static str, prefix: &'static str| {
        (0..10_000).map(move |i| set(document, &format!("{prefix}{i:05}"), &i.to_string()))
    };
    let mut writes: Vec<_> = many("large", "l|").chain(many("large", "e|")).collect();
    writes.extend([set("small", "e", "1"), set("small", "l", "2"), set("small", "l|", "3")]);
    commit_next(store, &holder, 0, writes).await;

    let names = ["small", "none", "large"].map(bytes);
    let loaded = store.load(LEDGER, &names, Some(b"l|")).await.expect("load");
    let mut loaded = loaded.into_iter().map(|mut document| {
        document.fields.sort();
        document.fields
    });
    assert_eq!(loaded.next(), Some(expected(&[("e", "1"), ("l", "2"), ("l|", "")])));
    assert_eq!(loaded.next(), Some(Vec::new()));
    let large = loaded.next().expect("the third");
    assert_eq!(large.len(), 20_000);
    for (field, value) in large {
        let number = field.strip_prefix(b"e|").map(|digits| digits.to_vec());
        let number = number.and_then(|digits| String::from_utf8(digits).ok()?.parse::<i32>().ok());
        let there = number.map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(value, bytes(&there), "field {field:?}");
    }

    let asked: Vec<Bytes> = (0..5_000)
        .map(|i| bytes(&format!("l|{i:05}")))
        .chain([bytes("x")])
        .collect();
    let wanted = [
        (bytes("large"), asked),
        (bytes("none"), vec![bytes("l|00001")]),
        (bytes("small"), vec![bytes("e")]),
        (bytes("small"), Vec::new()),
    ];
    let values = store.load_fields(LEDGER, &wanted).await.expect("load fields");
    let mut there = values.into_iter().map(|document| document.fields);
    let large = (0..5_000).map(|i| (bytes(&format!("l|{i:05}")), bytes(&i.to_string())));
    assert_eq!(there.next(), Some(large.collect()));
    assert_eq!(there.next(), Some(Vec::new()));
    assert_eq!(there.next(), Some(expected(&[("e", "1")])));
    assert_eq!(there.next(), Some(Vec::new()));
    assert!(store.load_fields(LEDGER, &[]).await.expect("load nothing").is_empty());
}

/// Documents, fields, values and log entries hold any bytes; names don't collide with each other or with the state.
pub async fn names_and_values_are_binary(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let every = Bytes::from((0..=255).collect::<Vec<u8>>());
    let names = [
        "12951|2026-12-01",
        "12951|2026-12-02",
        "",
        "{x}",
        "meta",
        "log",
        "d:d:",
        "a b\r\n*",
        "ßℓ",
    ];
    let mut documents: Vec<Bytes> = names.iter().map(|name| bytes(name)).collect();
    documents.extend([
        every.clone(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\xff\xfe"),
    ]);
    let write = |(i, document): (usize, &Bytes)| {
        let value = [every.as_ref(), &[0, i as u8]].concat();
        FieldWrite {
            document: document.clone(),
            field: every.clone(),
            value: Some(value.into()),
        }
    };
    let writes: Vec<FieldWrite> = documents.iter().enumerate().map(write).collect();
    let commit = LedgerCommit {
        entry: every.clone(),
        ..batch(store, &holder, 0, writes.clone()).await
    };
    store.commit(&holder, &commit).await.expect("commit");

    let loaded = store.load(LEDGER, &documents, None).await.expect("load");
    for (write, fields) in writes.into_iter().zip(loaded) {
        assert_eq!(
            fields.fields,
            [(write.field, write.value.expect("all are set"))],
            "document {:?}",
            write.document
        );
    }
    assert_eq!(
        log(store).await,
        [LogEntry {
            last_offset: 0,
            value: every
        }]
    );
    assert_eq!(state(store).await.applied, Some(0));
}

/// Rejected and forwarded records change no document, and may have no output.
pub async fn record_without_effect_advances_the_applied_offset(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let commit = LedgerCommit {
        entry: Bytes::new(),
        sequence: 0,
        ..batch(store, &holder, 9, Vec::new()).await
    };
    store.commit(&holder, &commit).await.expect("commit");
    let now = state(store).await;
    assert_eq!((now.applied, now.sequence), (Some(9), 0));
    assert_eq!(
        log(store).await,
        [LogEntry {
            last_offset: 9,
            value: Bytes::new()
        }]
    );
}

/// 9 comes before 10; trimming removes the entries named and no others, and the last one is the floor.
pub async fn log_is_ordered_by_number_and_trimmed(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    for offset in [2, 9, 10, 99, 100, 1000] {
        commit_next(store, &holder, offset, Vec::new()).await;
    }
    assert_eq!(log(store).await, [2, 9, 10, 99, 100, 1000].map(entry));
    assert_eq!(state(store).await.floor, None);
    let trim = LedgerCommit {
        trim: vec![2, 9, 10],
        ..batch(store, &holder, 1001, Vec::new()).await
    };
    store.commit(&holder, &trim).await.expect("commit");
    assert_eq!(log(store).await, [99, 100, 1000, 1001].map(entry));
    assert_eq!(state(store).await.floor, Some(10));
    commit_next(store, &holder, 1002, Vec::new()).await;
    assert_eq!(state(store).await.floor, Some(10), "it stays without trimming");
}

/// Equality of both epoch and token: neither the same epoch under another token nor a higher epoch writes anything.
pub async fn refused_to_whoever_does_not_hold_the_ledger(store: &dyn LedgerStore) {
    let zombie = acquire(store, "w1", "a").await;
    commit_next(store, &zombie, 0, vec![set("d", "f", "0")]).await;
    let holder = acquire(store, "w2", "b").await;
    let before = everything(store, &["d", "new"]).await;
    let holders = [
        zombie.clone(),
        Holder {
            token: zombie.token.clone(),
            ..holder.clone()
        },
        Holder {
            epoch: zombie.epoch,
            ..holder.clone()
        },
        Holder {
            epoch: holder.epoch + 1,
            ..holder.clone()
        },
        Holder {
            token: token(""),
            ..holder.clone()
        },
    ];
    for other in holders {
        let writes = vec![set("d", "f", "1"), set("new", "f", "1")];
        let commit = LedgerCommit {
            trim: vec![0],
            ..batch(store, &other, 1, writes).await
        };
        assert_fenced(store.commit(&other, &commit).await, &holder);
        assert_eq!(everything(store, &["d", "new"]).await, before, "by {other:?}");
    }
    commit_next(store, &holder, 1, vec![set("d", "f", "1")]).await;
}

/// Also the same batch once more: a repetition after a lost reply changes nothing.
pub async fn refused_on_another_version(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let first = batch(store, &holder, 3, vec![set("d", "f", "3")]).await;
    let early = LedgerCommit {
        version: 1,
        ..first.clone()
    };
    assert_behind(store.commit(&holder, &early).await, 0, 1);
    store.commit(&holder, &first).await.expect("commit");
    let before = everything(store, &["d"]).await;
    assert_behind(store.commit(&holder, &first).await, 1, 0);
    for wrong in [0, 2, 10, u64::MAX] {
        let writes = vec![set("d", "f", "4"), delete("d", "f")];
        let commit = LedgerCommit {
            version: wrong,
            trim: vec![3],
            ..batch(store, &holder, 40, writes).await
        };
        assert_behind(store.commit(&holder, &commit).await, 1, wrong);
    }
    assert_eq!(everything(store, &["d"]).await, before);
    let next = acquire(store, "w1", "b").await;
    assert_eq!(state(store).await.version, 0, "each acquisition counts from 0");
    commit_next(store, &next, 4, Vec::new()).await;
    assert_eq!(state(store).await.version, 1);
}

/// Half of a rebuilt ledger is not decided from. Its owner finds it so where the master that has the other half is
/// gone, and starts over.
pub async fn refused_while_rebuilding(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let begin = RebuildStep::Begin {
        version: 0,
        token: token("b"),
        keep: false,
    };
    store.rebuild(&holder, &begin).await.expect("begin");
    let holder = Holder {
        token: token("b"),
        ..holder
    };
    let before = everything(store, &["d"]).await;
    let commit = batch(store, &holder, 0, vec![set("d", "f", "0")]).await;
    assert_behind(store.commit(&holder, &commit).await, 0, 0);
    assert_eq!(everything(store, &["d"]).await, before);
}

/// Beyond 2^53 a floating-point number would take neighbours for equal.
pub async fn large_offsets_are_exact(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let large = (1 << 53) + 1;
    commit_next(store, &holder, large, Vec::new()).await;
    commit_next(store, &holder, i64::MAX - 1, Vec::new()).await;
    assert_eq!(log(store).await, [large, i64::MAX - 1].map(entry));
    let now = state(store).await;
    assert_eq!((now.applied, now.sequence), (Some(i64::MAX - 1), i64::MAX));
}

/// 20,000 fields in one document and as many deletions, 1,000 documents, a log entry of 5 MB, all in one batch
/// each.
pub async fn large_batch(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let value = |i: u32| [b"\0value\0".as_slice(), &i.to_be_bytes()].concat();
    let write = |i: u32, value: Option<Vec<u8>>| {
        let field = Bytes::copy_from_slice(&[b"\0".as_slice(), &i.to_be_bytes()].concat());
        FieldWrite {
            document: bytes("large"),
            field,
            value: value.map(Bytes::from),
        }
    };
    let mut writes: Vec<FieldWrite> = (0..20_000).map(|i| write(i, Some(value(i)))).collect();
    writes.extend((0..1000).map(|i| set(&format!("small {i}"), "f", "v")));
    let output = Bytes::from((0..5_000_000_u32).map(|i| i as u8).collect::<Vec<u8>>());
    let commit = LedgerCommit {
        entry: output.clone(),
        ..batch(store, &holder, 0, writes).await
    };
    store.commit(&holder, &commit).await.expect("commit");

    let mut stored = fields(store, "large").await;
    assert_eq!(stored.len(), 20_000);
    assert_eq!(stored.pop().map(|(_, last)| last), Some(Bytes::from(value(19_999))));
    assert_eq!(fields(store, "small 999").await, expected(&[("f", "v")]));
    assert_eq!(
        log(store).await,
        [LogEntry {
            last_offset: 0,
            value: output
        }]
    );

    let writes = (0..19_999).map(|i| write(i, None)).collect();
    let commit = LedgerCommit {
        trim: (0..20_000).collect(),
        ..batch(store, &holder, 20_001, writes).await
    };
    store.commit(&holder, &commit).await.expect("commit");
    assert_eq!(fields(store, "large").await.len(), 1);
    assert_eq!(log(store).await, [entry(20_001)]);
}
