//! What a worker refuses to start with, against real servers: parts that do not belong together.

use anyhow::{Result, ensure};
use interlock_schemas::topics;
use interlock_tests::real::{PATIENCE, in_installation};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

#[tokio::test]
async fn a_worker_does_not_start_with_what_does_not_belong_together() -> Result<()> {
    in_installation("belongs", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        installation.load(500).await?;
        worker.stop().await?;

        let refuses = async |settings: &[(&str, &str)], word: &str| {
            let mut command = installation.command(&["run", "--metrics-listen", "127.0.0.1:0"])?;
            command.envs(settings.iter().copied());
            let finished = installation.spawn(&mut command, "run")?.finish(PATIENCE).await?;
            ensure!(
                finished.status == Some(1) && finished.error.contains(word),
                "expected a refusal because of {word}: {finished:?}"
            );
            Ok(())
        };
        let other = ("INTERLOCK_APPLICATION_ID", "another");
        refuses(&[other], "redis.namespace").await?;
        refuses(&[other, ("INTERLOCK_REDIS_NAMESPACE", "another")], "application.id").await?;

        let client = redis::Client::open(installation.redis_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut policy = async |policy: &str| {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory-policy").arg(policy);
            set.query_async::<()>(&mut connection).await
        };
        policy("allkeys-lru").await?;
        let refused = refuses(&[], "noeviction").await;
        policy("noeviction").await?;
        refused?;

        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", installation.bootstrap_servers());
        let admin: AdminClient<DefaultClientContext> = client.create()?;
        let count = installation.partitions() as usize + 3;
        let grow = async |topics: &[String]| {
            let grown: Vec<NewPartitions<'_>> = topics.iter().map(|topic| NewPartitions::new(topic, count)).collect();
            for result in admin.create_partitions(&grown, &AdminOptions::new()).await? {
                result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
            }
            anyhow::Ok(())
        };
        let all = topics::TOPICS
            .iter()
            .flat_map(|(topic, _)| [(*topic).to_owned(), topics::dlq(topic)]);
        let (first, rest): (Vec<String>, Vec<String>) = all.partition(|topic| topic == topics::CONFIRMED);
        grow(&first).await?;
        refuses(&[], "the same number of partitions").await?;
        grow(&rest).await?;
        refuses(&[], "the number of partitions was changed").await?;
        Ok(())
    })
    .await
}
