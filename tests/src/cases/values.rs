//! What was given is returned, to the microsecond and to the byte.

use std::sync::Arc;

use keyward_core::clock::{SystemEntropy, Timestamp};
use keyward_core::key::{KeyName, MAX_NAME_CHARS, Status};
use keyward_core::scope::{MAX_SCOPE_LEN, MAX_SCOPES, Scope, Scopes};
use keyward_core::secret::KeyFormat;
use keyward_core::store::KeyStore;

use crate::records::{
    MORNING, Sample, at, create_all, id, in_list_order, list_all, sample, sample_at, workspace,
};

/// The first moment that can be written: the year 0 begins.
pub const EARLIEST: i64 = -62_167_219_200_000_000;

pub async fn times_come_back_to_the_microsecond(store: Arc<dyn KeyStore>) {
    let latest = Timestamp::MAX.as_micros();
    let moments = [
        EARLIEST,
        EARLIEST + 1,
        -1_000_001,
        -1_000_000,
        -999_999,
        -1,
        0,
        1,
        999_999,
        MORNING + 1,
        MORNING + 123_456,
        latest - 1,
        latest,
    ];
    let mut samples = Vec::new();
    for created in moments {
        for updated in [created, latest] {
            let mut sample = sample_at(workspace(), at(created));
            sample.key.updated_at = at(updated);
            samples.push(sample);
        }
    }
    assert_come_back(&store, &samples).await;
}

pub async fn every_character_of_unicode_comes_back_in_a_name(store: Arc<dyn KeyStore>) {
    let all: Vec<char> = ('\0'..=char::MAX).filter(|c| !c.is_control()).collect();
    let workspace = workspace();
    // The first and the last character of a name must not be white space, which would be trimmed.
    let names = all.chunks(MAX_NAME_CHARS - 2).map(|some| format!("x{}x", String::from_iter(some)));
    let samples: Vec<Sample> = names.map(|name| named(sample(workspace), &name)).collect();
    create_all(&store, &samples).await;
    assert_eq!(list_all(&*store, workspace, 500).await, in_list_order(&samples));
}

pub async fn names_of_every_length_come_back(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let lengths = (1..=4).chain([63, 64, 127, 128, 254, MAX_NAME_CHARS]);
    let samples: Vec<Sample> = lengths
        .flat_map(|length| ["a", "é", "鍵", "🔑"].map(|c| c.repeat(length)))
        .map(|name| named(sample(workspace), &name))
        .collect();
    assert_come_back(&store, &samples).await;
}

pub async fn scopes_come_back_as_they_were_named(store: Arc<dyn KeyStore>) {
    let long = |n: usize| format!("{n:0MAX_SCOPE_LEN$}");
    let named = [
        None,
        Some(Scopes::default()),
        Some(Scopes::default_for_keys().clone()),
        Some(Scopes::from_claim("orders:read api_keys:write ! #")),
        Some((0..MAX_SCOPES).map(|n| scope(&long(n))).collect()),
    ];
    let with = |named_scopes| {
        let mut sample = sample(workspace());
        sample.key.named_scopes = named_scopes;
        sample
    };
    assert_come_back(&store, &named.map(with)).await;
}

pub async fn prefixes_come_back(store: Arc<dyn KeyStore>) {
    let mut samples = Vec::new();
    for prefix in ["k", "sk_live", "a_b_c_9", &"P".repeat(32)] {
        let plain = KeyFormat::new(prefix).unwrap().mint(&SystemEntropy).unwrap();
        let mut sample = sample(workspace());
        sample.key.key_prefix = plain.key_prefix();
        samples.push(sample);
    }
    assert_come_back(&store, &samples).await;
}

pub async fn ids_of_any_bytes_come_back(store: Arc<dyn KeyStore>) {
    let numbers = [0, 1, 0xff, 1 << 127, u128::MAX - 1, u128::MAX];
    let samples = numbers.map(|number| {
        let mut sample = sample(id(number));
        sample.key.id = id(number);
        sample.key.created_by = id(number);
        sample
    });
    assert_come_back(&store, &samples).await;
}

/// A deployment is moved from one driver to another with all its records.
pub async fn a_record_that_is_revoked_already_is_stored_as_it_is(store: Arc<dyn KeyStore>) {
    let mut sample = sample(workspace());
    sample.key.revoke(at(MORNING + 7));
    assert_eq!(sample.key.status, Status::Revoked);
    assert_come_back(&store, &[sample]).await;
}

async fn assert_come_back(store: &Arc<dyn KeyStore>, samples: &[Sample]) {
    create_all(store, samples).await;
    for sample in samples {
        let workspace = sample.key.workspace_id;
        let stored = store.get(workspace, sample.key.id).await.unwrap();
        assert_eq!(stored, Some(sample.stored()));
        assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(&sample.key));
        assert!(list_all(&**store, workspace, 100).await.contains(&sample.key));
    }
}

fn named(mut sample: Sample, name: &str) -> Sample {
    sample.key.name = KeyName::new(name).expect("the name is good");
    assert_eq!(sample.key.name.as_str(), name);
    sample
}

fn scope(text: &str) -> Scope {
    text.parse().expect("the scope is good")
}
