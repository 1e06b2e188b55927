//! Documents and the index: what lets the holder notice that a part of the ledger is lost, older or another one.

use super::{LEDGER, acquire, batch, bytes, commit_next, entry, expected, fields, head, set, state, token};
use crate::ledger::{
    Contents, Document, DocumentWrites, Head, Holder, Index, LedgerCommit, LedgerState, LedgerStore, Loss, RebuildStep,
    read_document,
};

/// Each write renews the head of each document that it changes, in the index and at the document.
pub async fn heads_are_those_of_the_index(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let mut sums = Vec::new();
    for (applied, documents) in [(3, vec!["a", "b"]), (4, vec!["b"]), (9, vec!["b", "c", ""])] {
        let writes = documents.iter().map(|document| set(document, "f", "v")).collect();
        commit_next(store, &holder, applied, writes).await;
        let index = state(store).await.index;
        for document in ["a", "b", "c", ""] {
            assert_eq!(
                head(store, document).await,
                index.get(&bytes(document)).copied(),
                "{document}"
            );
        }
        for document in documents {
            assert_eq!(index[&bytes(document)].sequence, applied + 1, "{document}");
        }
        sums.push(index[&bytes("b")].sum);
    }
    assert!(sums.is_sorted_by(|a, b| a < b), "{sums:?}");
    assert_eq!(
        fields(store, "b").await,
        expected(&[("f", "v")]),
        "the head is no field"
    );
}

/// A view has the progress, and of everything else what is asked for.
pub async fn a_view_has_what_is_asked_for(store: &dyn LedgerStore) {
    let nothing = store.view(LEDGER, &[], Contents::Head, &[]).await.expect("view");
    assert_eq!(nothing.state, LedgerState::default());
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 3, vec![set("a", "f", "1"), set("b", "f", "2")]).await;
    commit_next(store, &holder, 5, vec![set("c", "f", "3")]).await;
    let now = state(store).await;
    let names = ["c", "none", "a"].map(bytes);
    let view = store
        .view(LEDGER, &names, Contents::Fields, &[5, 4])
        .await
        .expect("view");
    let index: Index = ["a", "c"].map(|name| (bytes(name), now.index[&bytes(name)])).into();
    let progress = LedgerState {
        owners: Vec::new(),
        index: index.clone(),
        ..now
    };
    assert_eq!(view.state, progress);
    assert_eq!(view.entries, 2);
    assert_eq!(view.log, [Some(entry(5).value), None]);
    let document = |name: &str, value: &str| Document {
        head: index.get(&bytes(name)).copied(),
        fields: expected(&[("f", value)]),
    };
    assert_eq!(
        view.documents,
        [document("c", "3"), Document::default(), document("a", "1")]
    );
    let heads = store.view(LEDGER, &names, Contents::Head, &[]).await.expect("view");
    assert!(heads.documents.iter().all(|document| document.fields.is_empty()));
    let of = |documents: &[Document]| documents.iter().map(|document| document.head).collect::<Vec<_>>();
    assert_eq!(of(&heads.documents), of(&view.documents));
}

/// Lazy fields, and documents without their lazy values, prove themselves by the head as well.
pub async fn fields_come_with_the_head(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 3, vec![set("a", "f", "1"), set("a", "l", "2")]).await;
    let named = state(store).await.index[&bytes("a")];
    let wanted = [
        (bytes("a"), vec![bytes("l"), bytes("x")]),
        (bytes("none"), vec![bytes("l")]),
    ];
    let loaded = store.load_fields(LEDGER, &wanted).await.expect("load fields");
    assert_eq!(loaded[0].head, Some(named));
    assert_eq!(loaded[0].fields, expected(&[("l", "2")]));
    assert_eq!(loaded[1], Document::default());
    let lazily = store.load(LEDGER, &[bytes("a"), bytes("none")], Some(b"l")).await;
    let lazily = lazily.expect("load");
    assert_eq!(lazily[0].head, Some(named));
    assert_eq!(lazily[0].fields, expected(&[("f", "1"), ("l", "")]));
    assert_eq!(lazily[1], Document::default());
}

/// A document was lost or put back while its owner had it in memory: the next write does not hide that, because the
/// store adds to the sum that it finds.
pub async fn a_write_onto_another_document_does_not_make_it_the_right_one(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 3, vec![set("a", "f", "1")]).await;
    let mut index = state(store).await.index;
    // The owner has seen a write of the document that the store does not have.
    let unseen = DocumentWrites::new(&index, vec![set("a", "g", "2")], 5, &token("a"), [7; 8]);
    unseen.enter(&mut index);
    let batch = batch(store, &holder, 6, Vec::new()).await;
    let onto_it = LedgerCommit {
        documents: DocumentWrites::new(&index, vec![set("a", "f", "3")], 7, &token("a"), batch.chain),
        ..batch
    };
    store.commit(&holder, &onto_it).await.expect("commit");
    let reading = read_document(store, LEDGER, &bytes("a")).await.expect("read");
    assert_eq!(reading.fields, Err(Loss::Other));
}

/// A key that the index does not name may hold anything, such as a document of before `meta` was lost.
pub async fn what_lies_in_the_place_of_a_new_document_goes(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 3, vec![set("a", "f", "1"), set("a", "old", "2")]).await;
    let batch = batch(store, &holder, 6, Vec::new()).await;
    let onto_nothing = LedgerCommit {
        documents: DocumentWrites::new(&Index::new(), vec![set("a", "f", "3")], 7, &token("a"), batch.chain),
        ..batch
    };
    store.commit(&holder, &onto_nothing).await.expect("commit");
    let reading = read_document(store, LEDGER, &bytes("a")).await.expect("read");
    assert_eq!(reading.fields, Ok(expected(&[("f", "3")])));
}

/// A rebuild writes a large document in several steps.
pub async fn documents_split_between_writes_of_a_rebuild_have_one_head(store: &dyn LedgerStore) {
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
    let mut index = Index::new();
    for (version, field) in (0..).zip(["f", "g", "h|"]) {
        let writes = vec![set("a", field, "1")];
        let documents = DocumentWrites::new(&index, writes, 9, &token("b"), u64::to_be_bytes(version));
        documents.enter(&mut index);
        let write = RebuildStep::Write { version, documents };
        store.rebuild(&holder, &write).await.expect("write");
    }
    assert_eq!(state(store).await.index, index);
    assert_eq!(head(store, "a").await, index.get(&bytes("a")).copied());
    assert_eq!(
        fields(store, "a").await,
        expected(&[("f", "1"), ("g", "1"), ("h|", "1")])
    );
}

/// A document that the index does not name does not exist, and one that it names is compared.
pub async fn readers_take_no_document_that_the_index_does_not_name(store: &dyn LedgerStore) {
    let none = read_document(store, LEDGER, &bytes("a")).await.expect("read");
    assert_eq!((none.fields, none.state), (Ok(Vec::new()), LedgerState::default()));
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 3, vec![set("a", "f", "1")]).await;
    let found = read_document(store, LEDGER, &bytes("a")).await.expect("read");
    assert_eq!(found.fields, Ok(expected(&[("f", "1")])));
    assert_eq!(found.state.sequence, 4);
    // The index names a document that there is not.
    let batch = batch(store, &holder, 6, Vec::new()).await;
    let mut index = Index::new();
    index.insert(bytes("gone"), Head { sequence: 1, sum: 1 });
    let onto_it = LedgerCommit {
        documents: DocumentWrites::new(&index, vec![set("gone", "f", "3")], 7, &token("a"), batch.chain),
        ..batch
    };
    store.commit(&holder, &onto_it).await.expect("commit");
    let reading = read_document(store, LEDGER, &bytes("gone")).await.expect("read");
    assert_eq!(reading.fields, Err(Loss::Other));
}
