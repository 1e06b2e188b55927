//! `interlock transactions`, as it is typed.

use clap::{Args, Subcommand};

/// Find transactions that hold readers back, and end them
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever reads committed records waits at the first record of an open transaction. Workers' are open for moments; one whose
worker died is ended by the next owner of its ledgers, or by the broker after kafka.transaction_timeout. One that hangs is
unknown to its coordinator and is ended by nobody: that takes a broker's fault.
Brokers are asked over plain connections; where they are reached by TLS or SASL, use Kafka's kafka-transactions.sh.

Examples:
  interlock transactions list                     name, since when, what it holds back, whose it is
  interlock transactions abort confirmed:3:4711   by its name; if its producer lives, it starts over")]
pub(crate) struct Transactions {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: TransactionsAction,
}

/// What to do with open transactions.
#[derive(Debug, Subcommand)]
pub(crate) enum TransactionsAction {
    List(TransactionsList),
    Abort(TransactionsAbort),
}

/// List what is open in the topics of this application and among the committed offsets
#[derive(Debug, Args)]
pub(crate) struct TransactionsList {
    /// Print a JSON object on each line
    #[arg(long)]
    pub(crate) json: bool,
}

/// End one: fence its transactional.id, or, if it hangs, mark it as aborted in its partition
#[derive(Debug, Args)]
pub(crate) struct TransactionsAbort {
    /// Its name, as `list` shows it
    #[arg(value_name = "TOPIC:PARTITION:PRODUCER")]
    pub(crate) name: String,
    /// Also one that is not known to be this application's
    #[arg(long)]
    pub(crate) foreign: bool,
}
