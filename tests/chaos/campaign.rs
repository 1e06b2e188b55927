//! Runs rounds of faults. Each round has a new installation and a steady load, during which faults happen one after the
//! other; then everything is audited.

use anyhow::{Context as _, Result, ensure};

use super::faults::{CATALOGUE, Fault};
use super::report::{Happened, Report};
use super::scene::Scene;
use super::stage::{Kind, Play, Stage};
use super::traffic::Traffic;
use super::watch::Watch;
use crate::random::Random;
use crate::real::{PATIENCE, Sums, say, wait_for};

/// Largest number of faults in one round.
const ROUND: usize = 12;
/// Attempts to start servers.
const STARTS: u32 = 3;

/// The parameters of a campaign.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Determines the order and the duration of the faults.
    pub seed: u64,
    /// Number of faults; all kinds occur equally often.
    pub faults: usize,
    /// Only faults whose name contains one of these texts; all if the list is empty.
    pub only: Vec<String>,
    /// The kinds of servers to use.
    pub on: Vec<Kind>,
    /// Requests per second.
    pub rate: u32,
}

/// A fault of the catalogue, on some servers.
type Planned = (Kind, usize);

impl Campaign {
    /// Returns all faults, ordered by the servers they need and shuffled within that order.
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

/// Carries out the campaign. Violations are in the report.
///
/// # Errors
/// If the campaign could not be carried out.
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
                // The state of these servers is unknown, so the next round begins with others.
                stage = None;
            }
        }
    }
    Ok(report)
}

/// Starts the servers. If another process takes a free port first, tries again with other ports.
async fn start(kind: Kind) -> Result<Stage> {
    for _ in 1..STARTS {
        match Stage::start(kind).await {
            Ok(stage) => return Ok(stage),
            Err(error) => say(format_args!("the servers don't start, trying again: {error:#}")),
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
    // Only now is it known that the system survived them.
    report.faults.extend(all);
    report.requests += sent;
    report.audits += 1;
    Ok(())
}

/// Checks that every request is in its topic and has its answer, that the audit passes, and that the tables equal the
/// sums over the topics.
async fn all_holds(play: &Play, sent: u64) -> Result<()> {
    let audit = play.installation.audit().await?;
    let records = audit["totals"]["records"].as_u64().context("records")?;
    let forwarded = audit["totals"]["forwarded"].as_u64().context("forwarded")?;
    ensure!(
        records - forwarded == sent,
        "{sent} requests were sent, and {records} are there ({forwarded} forwarded): {audit:#}"
    );
    let events = Sums::of_events(&play.installation.events().await?);
    let tables = Sums::of_tables(&mut play.installation.database().await?).await?;
    ensure!(
        events == tables,
        "over the topics: {events:?}\nin the tables: {tables:?}"
    );
    Ok(())
}
