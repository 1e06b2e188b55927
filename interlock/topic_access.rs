//! Reads and writes records as JSON, directly in Kafka or through a gateway.

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use interlock_gateway::json_log::{Appended, From, JsonLog, Records};
use reqwest::{Client, Response, Url, header};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Consume;
use crate::config::Config;
use crate::services;

/// The way to the topics.
pub(crate) enum TopicAccess {
    /// Directly in Kafka, with the registry.
    Direct(JsonLog),
    /// Through the gateway at this address.
    Gateway(Client, Url),
}

/// A gateway's answer to appended records.
#[derive(Deserialize)]
struct Answer {
    records: Vec<Appended>,
}

/// A gateway's problem document.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl TopicAccess {
    /// Opens the topics through the gateway if there is an address, or else as configured.
    pub(crate) async fn open(url: Option<&str>, config: &Config, to_write: bool) -> anyhow::Result<Self> {
        let Some(url) = url else {
            return Ok(Self::Direct(services::json_topics(config, to_write).await?));
        };
        let parsed = Url::parse(url)
            .ok()
            .filter(|parsed| parsed.scheme().starts_with("http"));
        let parsed = parsed.with_context(|| format!("--url: `{url}` is no address such as http://127.0.0.1:8080"))?;
        Ok(Self::Gateway(Client::new(), parsed))
    }

    /// Appends all records or none, and returns their positions.
    pub(crate) async fn append(
        &self,
        topic: &str,
        key: Option<&str>,
        records: &[Value],
    ) -> anyhow::Result<Vec<Appended>> {
        match self {
            Self::Direct(topics) => Ok(topics.append(topic, key, records).await?),
            Self::Gateway(client, url) => {
                let query: Vec<(&str, String)> = key.map(|key| ("key", key.to_owned())).into_iter().collect();
                let request = client.post(address(url, topic, &query)?).json(records);
                Ok(answered(url, request.send().await)
                    .await?
                    .json::<Answer>()
                    .await?
                    .records)
            }
        }
    }

    /// Begins to read.
    pub(crate) async fn read(&self, arguments: &Consume) -> anyhow::Result<Lines> {
        let Consume {
            topic,
            from,
            partition,
            limit,
            follow,
            ..
        } = arguments;
        match self {
            Self::Direct(topics) => {
                let records = topics.read(topic, *partition, *from, *follow).await?;
                Ok(Lines::Direct(records, limit.unwrap_or(usize::MAX)))
            }
            Self::Gateway(client, url) => {
                let from = match from {
                    From::Beginning => "beginning".to_owned(),
                    From::Latest => "latest".to_owned(),
                    From::Offset(offset) => offset.to_string(),
                };
                let mut query = vec![("from", from), ("follow", follow.to_string())];
                query.extend(partition.map(|partition| ("partition", partition.to_string())));
                query.extend(limit.map(|limit| ("limit", limit.to_string())));
                let request = client.get(address(url, topic, &query)?);
                let request = request.header(header::ACCEPT, "application/x-ndjson");
                Ok(Lines::Gateway(answered(url, request.send().await).await?))
            }
        }
    }
}

fn address(url: &Url, topic: &str, query: &[(&str, String)]) -> anyhow::Result<Url> {
    let mut address = url.clone();
    let mut path = address
        .path_segments_mut()
        .map_err(|()| anyhow!("--url: {url} can't have a path"))?;
    path.pop_if_empty().extend(["topics", topic]);
    drop(path);
    if !query.is_empty() {
        address.query_pairs_mut().extend_pairs(query);
    }
    Ok(address)
}

async fn answered(url: &Url, response: reqwest::Result<Response>) -> anyhow::Result<Response> {
    let response =
        response.with_context(|| format!("no answer from {url}; is a gateway or `interlock dev` running there?"))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem = response.json::<Problem>().await;
    let problem = problem.with_context(|| format!("{url} answers {status}; is that a gateway?"))?;
    Err(anyhow!(problem.detail))
}

/// Lines of JSON, as they arrive.
pub(crate) enum Lines {
    /// Records not yet formatted as lines, and their maximum number.
    Direct(Records, usize),
    /// Text that is already in lines.
    Gateway(Response),
}

impl Lines {
    /// Returns the next piece of text; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Direct(_, 0) => Ok(None),
            Self::Direct(records, left) => {
                *left -= 1;
                let Some(record) = records.next().await? else {
                    return Ok(None);
                };
                Ok(Some(record.line().into()))
            }
            Self::Gateway(response) => Ok(response.chunk().await.context("the gateway has broken off")?),
        }
    }
}
