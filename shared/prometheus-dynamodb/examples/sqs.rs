//! A function that takes batches of messages from a queue and reports which of them failed, so that only these are
//! delivered again. The event source mapping must have `ReportBatchItemFailures`; see
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.
//!
//! Counts are exact here too: a message that is delivered again is counted again because it was *handled* again.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    body: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failures {
    batch_item_failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let messages =
        IntCounterVec::new(Opts::new("messages_total", "Messages that were handled, by outcome."), &["outcome"])?;
    // Known label values start at 0, so that the first failure shows in `rate()`.
    ["done", "failed"].iter().for_each(|outcome| drop(messages.with_label_values(&[outcome])));
    let registry = Registry::new();
    registry.register(Box::new(messages.clone()))?;

    let handler = service_fn(move |batch: LambdaEvent<Batch>| {
        let messages = messages.clone();
        async move {
            let mut failures = Failures::default();
            for message in batch.payload.records {
                let done = message.body.trim().parse::<u64>().is_ok();
                messages.with_label_values(&[if done { "done" } else { "failed" }]).inc();
                if !done {
                    failures.batch_item_failures.push(Failure { item_identifier: message.message_id });
                }
            }
            Ok::<_, Error>(failures)
        }
    });
    prometheus_dynamodb::run(handler, registry).await
}
