//! Holds the stats table in memory and the one in DynamoDB to the same contract.

mod support;

use prometheus_dynamodb::internals::item::{
    Base, Encoded, Part, Snapshot, StoredPart, StoredStructure, StructureId, StructureItem, WriterId,
};
use prometheus_dynamodb::internals::protocol::condition::{PutCondition, StoredHead};
use prometheus_dynamodb::internals::protocol::writer::PutOutcome;
use prometheus_dynamodb::internals::table::{CompactStats, PublishStats, ReadStats};
use prometheus_dynamodb::{DynamoDbStatsTable, MemoryStatsTable};
use support::dynamodb_local::{DynamoDbLocal, TABLE};

fn snapshot(writer: u8, seq: u64) -> Snapshot {
    Snapshot {
        writer: WriterId::from_bytes([writer; 16]),
        shard: 0,
        seq,
        function: "encode".into(),
        version: "$LATEST".into(),
        updated_at_ms: 1_763_913_600_123,
        sealed_at_ms: None,
        closed: false,
        families: Encoded { format: 1, bytes: vec![0, 1, 255] },
    }
}

async fn stored<T: ReadStats>(table: &T, shard: u32) -> Vec<Snapshot> {
    let mut snapshots: Vec<_> =
        table.snapshots(shard).await.unwrap().into_iter().map(|snapshot| snapshot.unwrap()).collect();
    snapshots.sort_by_key(|snapshot| snapshot.writer);
    snapshots
}

async fn keeps_its_contract<T: PublishStats + CompactStats>(table: T) {
    use PutCondition::{Absent, Older};
    let put = async |snapshot: &Snapshot, condition| table.put_snapshot(snapshot, condition).await.unwrap();
    let refused_by = |snapshot: &Snapshot| {
        let head = StoredHead { seq: snapshot.seq, sealed: snapshot.sealed_at_ms.is_some() };
        PutOutcome::Refused(Some((head, snapshot.families.clone())))
    };
    let (a, b) = (1, 2);

    // The table is empty.
    assert_eq!(stored(&table, 0).await, []);
    assert_eq!(table.base(0).await.unwrap(), None);
    assert_eq!(table.grave(snapshot(a, 1).writer).await.unwrap(), None);
    assert_eq!(table.shards().await.unwrap(), 1);

    // A writer's first put, a duplicate of it, its successor, and a delayed older put.
    assert_eq!(put(&snapshot(a, 1), Older).await, PutOutcome::Refused(None));
    assert_eq!(put(&snapshot(a, 1), Absent).await, PutOutcome::Stored);
    assert_eq!(put(&snapshot(a, 1), Absent).await, refused_by(&snapshot(a, 1)));
    assert_eq!(put(&snapshot(a, 3), Older).await, PutOutcome::Stored);
    assert_eq!(put(&snapshot(a, 2), Older).await, refused_by(&snapshot(a, 3)));
    assert_eq!(stored(&table, 0).await, [snapshot(a, 3)]);

    // Nothing replaces a sealed snapshot.
    let sealed = Snapshot { sealed_at_ms: Some(1), closed: true, ..snapshot(b, 1) };
    assert_eq!(put(&sealed, Absent).await, PutOutcome::Stored);
    assert_eq!(put(&snapshot(b, 2), Absent).await, refused_by(&sealed));
    assert_eq!(put(&snapshot(b, 2), Older).await, refused_by(&sealed));
    assert_eq!(stored(&table, 0).await, [snapshot(a, 3), sealed.clone()]);

    // Shards are separate, and the announced number of shards only grows.
    let elsewhere = Snapshot { shard: 2, ..snapshot(a, 1) };
    assert_eq!(put(&elsewhere, Absent).await, PutOutcome::Stored);
    assert_eq!(stored(&table, 2).await, [elsewhere]);
    assert_eq!(stored(&table, 0).await.len(), 2);
    for announced in [3, 2] {
        table.announce_shards(announced).await.unwrap();
        assert_eq!(table.shards().await.unwrap(), 3);
    }

    // These snapshots take more than one page of a query, which DynamoDB ends at 1 MB.
    for number in 0..8 {
        let families = Encoded { format: 1, bytes: vec![number; 200_000] };
        let large = Snapshot { shard: 1, families, ..snapshot(number, 1) };
        assert_eq!(put(&large, Absent).await, PutOutcome::Stored);
    }
    let sizes: Vec<_> = stored(&table, 1).await.iter().map(|snapshot| snapshot.families.bytes.len()).collect();
    assert_eq!(sizes, [200_000; 8]);

    seals_and_buries(&table).await;
    keeps_structures(&table).await;
    replaces_bases_and_parts(&table).await;
}

async fn seals_and_buries<T: PublishStats + CompactStats>(table: &T) {
    const SHARD: u32 = 4;
    let (absent, first) = (Snapshot { shard: SHARD, ..snapshot(1, 1) }, Snapshot { shard: SHARD, ..snapshot(2, 1) });
    let second = Snapshot { seq: 2, ..first.clone() };
    table.put_snapshot(&first, PutCondition::Absent).await.unwrap();
    table.put_snapshot(&second, PutCondition::Older).await.unwrap();

    // A snapshot that is not sealed is not deleted. A snapshot is sealed only if it is as it was read, and only once.
    assert!(!table.delete_snapshot(&second).await.unwrap());
    assert!(!table.seal(&absent, 5).await.unwrap());
    assert!(!table.seal(&first, 5).await.unwrap());
    assert_eq!(stored(table, SHARD).await, std::slice::from_ref(&second));
    assert!(table.seal(&second, 5).await.unwrap());
    assert!(!table.seal(&second, 6).await.unwrap());
    assert_eq!(stored(table, SHARD).await, [Snapshot { sealed_at_ms: Some(5), ..second.clone() }]);

    // A grave is not replaced.
    let other = Snapshot { families: Encoded { format: 1, bytes: vec![9] }, ..second.clone() };
    assert!(table.put_grave(&second, 7).await.unwrap());
    assert!(!table.put_grave(&other, 7).await.unwrap());
    assert_eq!(table.grave(second.writer).await.unwrap(), Some(second.families.clone()));

    assert!(table.delete_snapshot(&second).await.unwrap());
    assert!(!table.delete_snapshot(&second).await.unwrap());
    assert_eq!(stored(table, SHARD).await, []);
}

async fn replaces_bases_and_parts<T: CompactStats>(table: &T) {
    const SHARD: u32 = 5;
    let families = Encoded { format: 1, bytes: vec![0, 1, 255] };
    let folded = [(WriterId::from_bytes([7; 16]), None), (WriterId::from_bytes([8; 16]), Some(9))].into();
    let part = Part { version: 2, folded, families: families.clone() };
    let base = |version, parts: &[&Part]| Base {
        version,
        folded: part.folded.clone(),
        families: families.clone(),
        parts: parts.iter().map(|part| part.id()).collect(),
    };

    // Each version of a base replaces only the version before it.
    assert!(!table.put_base(SHARD, &base(2, &[])).await.unwrap());
    assert!(table.put_base(SHARD, &base(1, &[])).await.unwrap());
    assert!(!table.put_base(SHARD, &base(1, &[])).await.unwrap());
    assert!(!table.put_base(SHARD, &base(3, &[])).await.unwrap());
    assert_eq!(table.base(SHARD).await.unwrap(), Some(base(1, &[])));
    assert!(table.put_base(SHARD, &base(2, &[&part])).await.unwrap());
    assert!(!table.put_base(SHARD, &base(2, &[])).await.unwrap());
    assert_eq!(table.base(SHARD).await.unwrap(), Some(base(2, &[&part])));
    assert_eq!(table.base(SHARD + 1).await.unwrap(), None);

    // A part is stored once. It is deleted once, after it was noted as unnamed.
    assert_eq!(table.part(SHARD, part.id()).await.unwrap(), None);
    assert!(!table.note_unnamed(SHARD, part.id(), 3).await.unwrap());
    assert!(table.put_part(SHARD, &part).await.unwrap());
    assert!(!table.put_part(SHARD, &part).await.unwrap());
    assert_eq!(table.part(SHARD, part.id()).await.unwrap(), Some(part.clone()));
    assert_eq!(table.part(SHARD + 1, part.id()).await.unwrap(), None);
    let listed = |unnamed_at_ms| [Ok(StoredPart { id: part.id(), version: 2, unnamed_at_ms })];
    assert_eq!(table.parts(SHARD).await.unwrap(), listed(None));
    assert!(!table.delete_part(SHARD, part.id()).await.unwrap());
    assert!(table.note_unnamed(SHARD, part.id(), 3).await.unwrap());
    assert!(!table.note_unnamed(SHARD, part.id(), 4).await.unwrap());
    assert_eq!(table.parts(SHARD).await.unwrap(), listed(Some(3)));
    assert_eq!(table.snapshots(SHARD).await.unwrap(), []);
    assert!(table.delete_part(SHARD, part.id()).await.unwrap());
    assert!(!table.delete_part(SHARD, part.id()).await.unwrap());
    assert_eq!(table.parts(SHARD).await.unwrap(), []);
}

async fn keeps_structures<T: PublishStats + CompactStats>(table: &T) {
    const SHARD: u32 = 9;
    let id = |byte| StructureId::from_bytes([byte; 16]);
    let item = |renewed_at_ms| StructureItem { families: Encoded { format: 2, bytes: vec![7, 0] }, renewed_at_ms };
    assert_eq!(table.structure(SHARD, id(1)).await.unwrap(), None);
    assert!(!table.delete_structure(SHARD, id(1), 1).await.unwrap());
    for renewed_at_ms in [1, 2] {
        table.put_structure(SHARD, id(1), &item(renewed_at_ms)).await.unwrap();
        assert_eq!(table.structure(SHARD, id(1)).await.unwrap(), Some(item(renewed_at_ms)));
    }
    table.put_structure(SHARD, id(2), &item(5)).await.unwrap();
    assert_eq!(table.structure(SHARD + 1, id(1)).await.unwrap(), None);
    let listed = [(1, 2), (2, 5)].map(|(byte, renewed_at_ms)| Ok(StoredStructure { id: id(byte), renewed_at_ms }));
    assert_eq!(table.structures(SHARD).await.unwrap(), listed);
    // Structures are not among the snapshots, and a structure that was renewed is not deleted.
    assert_eq!(table.snapshots(SHARD).await.unwrap(), []);
    assert!(!table.delete_structure(SHARD, id(1), 1).await.unwrap());
    assert!(table.delete_structure(SHARD, id(1), 2).await.unwrap());
    assert_eq!(table.structures(SHARD).await.unwrap(), listed[1..]);
}

#[tokio::test]
async fn memory_keeps_its_contract() {
    keeps_its_contract(MemoryStatsTable::default()).await;
}

#[tokio::test]
async fn dynamodb_keeps_its_contract() {
    let dynamodb = DynamoDbLocal::start().await;
    keeps_its_contract(dynamodb.table()).await;
}

#[tokio::test]
async fn an_item_that_is_not_a_snapshot_is_named_and_leaves_the_others_readable() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let dynamodb = DynamoDbLocal::start().await;
    let client = dynamodb.client();
    let table = DynamoDbStatsTable::new(client.clone(), TABLE);
    table.put_snapshot(&snapshot(1, 1), PutCondition::Absent).await.unwrap();
    client
        .put_item()
        .table_name(TABLE)
        .item("pk", AttributeValue::S("shard#0".into()))
        .item("sk", AttributeValue::S(format!("writer#{}", WriterId::from_bytes([9; 16]))))
        .item("seq", AttributeValue::S("one".into()))
        .send()
        .await
        .unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = table.snapshots(0).await.unwrap().into_iter().partition(Result::is_ok);
    assert_eq!(good, [Ok(snapshot(1, 1))]);
    let error = bad[0].as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        "the item shard#0, writer#09090909090909090909090909090909 cannot be read: seq is missing or of another type"
    );
}
