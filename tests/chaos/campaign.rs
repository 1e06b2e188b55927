//! Rounds of faults: a new installation, faults one after the other while a load goes on, then everything is audited.

use anyhow::{Context as _, Result, ensure};

use super::faults::{CATALOGUE, Fault};
use super::report::{Happened, Report};
use super::scene::Scene;
use super::stage::{Kind, Play, Stage};
use super::traffic::Traffic;
use super::watch::Watch;
use crate::random::Random;
use crate::real::{PATIENCE, Sums, say, wait_for};

/// Faults of one round at most.
const ROUND: usize = 12;
/// Attempts to start servers.
const STARTS: u32 = 3;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Settles which faults come in which order, and how long each lasts.
    pub seed: u64,
    /// How many; each kind of fault as often as the others.
    pub faults: usize,
    /// Those whose name contains one of these; all if there are none.
    pub only: Vec<String>,
    /// On these kinds of servers.
    pub on: Vec<Kind>,
    /// Requests per second.
    pub rate: u32,
}

/// A fault of the catalogue, on some servers.
type Planned = (Kind, usize);

impl Campaign {
    /// All faults in the order of the servers they need, and within that shuffled.
    fn plan(&self) -> Vec<Planned> {
        let mut random = Random::new(self.seed, 0);
        let is_wanted = |fault: &Fault| {
            let named = |only: &String| fault.name.to_lowercase().contains(&only.to_lowercase());
            self.only.is_empty() || self.only.iter().any(named)
        };
        let faults = CATALOGUE
            .iter()
            .enumerate()
            .filter(|(_, fault)| is_wanted(fault) && fault.is_possible());
        let all: Vec<Planned> = faults
            .flat_map(|(place, fault)| fault.on.iter().map(move |kind| (*kind, place)))
            .filter(|(kind, _)| self.on.contains(kind))
            .collect();
        let (mut plan, mut deck) = (Vec::new(), Vec::new());
        while plan.len() < self.faults && !all.is_empty() {
            if deck.is_empty() {
                deck.clone_from(&all);
            }
            plan.push(deck.swap_remove(random.below(deck.len() as u64) as usize));
        }
        plan.sort_by_key(|(kind, _)| *kind);
        plan
    }
}

/// Carries it out. What doesn't hold is in the report.
///
/// # Errors
/// If it could not be carried out.
pub async fn run(campaign: &Campaign) -> Result<Report> {
    say(format_args!("chaos: seed {}", campaign.seed));
    let mut report = Report {
        seed: campaign.seed,
        ..Report::default()
    };
    let plan = campaign.plan();
    let mut number = 0;
    for kind in Kind::ALL {
        let faults: Vec<usize> = plan
            .iter()
            .filter(|(on, _)| *on == kind)
            .map(|(_, place)| *place)
            .collect();
        let mut stage = None;
        for round in faults.chunks(ROUND) {
            number += 1;
            let stage_here = match &mut stage {
                Some(stage) => stage,
                None => stage.insert(start(kind).await?),
            };
            if let Err(error) = play_round(campaign, stage_here, number, round, &mut report).await {
                say(format_args!(
                    "VIOLATION in round {number} on {}: {error:#}",
                    kind.name()
                ));
                report
                    .violations
                    .push(format!("round {number} on {}: {error:#}", kind.name()));
                // Whatever state the servers are in, the next round begins with others.
                stage = None;
            }
        }
    }
    Ok(report)
}

/// Starts the servers. Somebody else may take a free port before they do; then others are looked for.
async fn start(kind: Kind) -> Result<Stage> {
    for _ in 1..STARTS {
        match Stage::start(kind).await {
            Ok(stage) => return Ok(stage),
            Err(error) => say(format_args!("the servers don't start, once more: {error:#}")),
        }
    }
    Stage::start(kind).await
}

async fn play_round(
    campaign: &Campaign,
    stage: &mut Stage,
    number: u32,
    faults: &[usize],
    report: &mut Report,
) -> Result<()> {
    let kind = stage.kind.name();
    say(format_args!("round {number} on {kind}: {} faults", faults.len()));
    let mut play = stage.play(&format!("chaos{number}")).await?;
    let result = faults_of_round(campaign, stage, &mut play, number, faults, report).await;
    if result.is_err() {
        play.installation.show_logs();
        play.installation.keep_logs();
    }
    play.workers.clear();
    let removed = play.installation.remove().await;
    result.and(removed)
}

async fn faults_of_round(
    campaign: &Campaign,
    stage: &mut Stage,
    play: &mut Play,
    number: u32,
    faults: &[usize],
    report: &mut Report,
) -> Result<()> {
    let on = stage.kind.name();
    let mut chance = Random::new(campaign.seed, u64::from(number));
    let watch = Watch::start(&play.installation).await?;
    let traffic = Traffic::start(
        &play.installation,
        "burst",
        campaign.rate,
        campaign.seed * 1_000 + u64::from(number) * 100,
    );
    let traffic = traffic.await?;
    wait_for("every ledger decides", PATIENCE, async || Ok(watch.all_decided(0))).await?;
    let mut all = Vec::new();
    for place in faults {
        let fault = &CATALOGUE[*place];
        play.wait_until_shared().await?;
        let mut scene = Scene::new(stage, play, &watch, &mut chance);
        scene.pause(300, 2_000).await;
        let happened = async {
            (fault.happen)(&mut scene).await?;
            scene.conclude().await
        };
        let times = happened.await.with_context(|| format!("fault \"{}\"", fault.name))?;
        play.check_workers()
            .with_context(|| format!("after \"{}\"", fault.name))?;
        let happened = Happened::new(fault.name, *place, on, number, times);
        say(&happened);
        all.push(happened);
    }
    let sent = traffic.stop()?;
    all_holds(play, sent).await?;
    play.check_workers()?;
    say(format_args!(
        "round {number} on {on}: {sent} requests, each answered; {} answers and promotions read; the audit passed",
        watch.answers()
    ));
    // Before, nobody knows whether they were survived.
    report.faults.extend(all);
    report.requests += sent;
    report.audits += 1;
    Ok(())
}

/// Every request sent is in its topic and has its answer, the audit passes, and the tables equal the sums over the topics.
async fn all_holds(play: &Play, sent: u64) -> Result<()> {
    let audit = play.installation.audit().await?;
    let records = audit["totals"]["records"].as_u64().context("records")?;
    let forwarded = audit["totals"]["forwarded"].as_u64().context("forwarded")?;
    ensure!(
        records - forwarded == sent,
        "{sent} requests were sent, and {records} are there ({forwarded} sent on): {audit:#}"
    );
    let events = Sums::of_events(&play.installation.events().await?);
    let tables = Sums::of_tables(&mut play.installation.database().await?).await?;
    ensure!(
        events == tables,
        "over the topics: {events:?}\nin the tables: {tables:?}"
    );
    Ok(())
}
