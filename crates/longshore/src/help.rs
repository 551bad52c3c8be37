//! What `--help` shows beyond the flags: for every command, examples that are right.
//!
//! They stand here and not beside the flags, so that both names show the same ones, the manual pages have them as a section
//! of their own, and one test can read all of them.

use clap::{Command, CommandFactory};

/// The commands of the binary, under its own name.
pub(crate) fn longshore() -> Command {
    crate::completion::dressed(dressed(crate::args::Longshore::command(), "longshore", ""))
}

/// The commands of the binary called as `ecs-cli`.
pub(crate) fn ecs_cli() -> Command {
    crate::completion::dressed(dressed(crate::cli::ecs_cli_command(), "ecs-cli", ""))
}

/// What an example does, and the command.
type Example = (&'static str, &'static str);

/// By command; `up` of `compose` is `compose up`.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("A server and three local instances, until Ctrl-C", "longshore dev"),
            ("Point aws, boto3 and Terraform at it", "eval \"$(longshore env)\""),
            ("Run a compose file as a task, and see what runs", "longshore compose up"),
            ("Everything in one screen, with what needs attention", "longshore status"),
        ],
    ),
    (
        "server",
        &[
            ("The control plane, for machines that attach themselves", "longshore server --link-listen 0.0.0.0:4567"),
            (
                "And tell a receiver of all that changes",
                "longshore server --events-webhook https://hooks.example/ecs --events-webhook-secret-file /etc/longshore/hook",
            ),
            ("With HTTPS", "longshore server --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem"),
        ],
    ),
    (
        "dev",
        &[
            ("Three local instances, one in each zone; Ctrl-C takes all of it down", "longshore dev"),
            (
                "Five larger ones, which stay for the next `dev`",
                "longshore dev --instances 5 --instance-type t3.large --keep",
            ),
        ],
    ),
    (
        "agent",
        &[
            (
                "Attach this machine, with a token from `longshore token create`",
                "longshore agent --server SERVER:4567 --token-file token --attribute rack=r9",
            ),
            (
                "Give it to Fargate, whose tasks get kernels of their own where gVisor is installed",
                "longshore agent --server SERVER:4567 --token-file token --fargate --address 10.0.0.9 --attribute \
                 ecs.availability-zone=us-east-1a",
            ),
        ],
    ),
    (
        "env",
        &[
            ("Point this shell's AWS clients at the server on this machine", "eval \"$(longshore env)\""),
            ("At a server with another data directory", "eval \"$(longshore env --data-dir /srv/longshore)\""),
        ],
    ),
    (
        "status",
        &[
            ("All clusters of the region, and what needs attention", "longshore status"),
            ("One of them, looked at every two seconds", "longshore status --cluster shop --watch"),
            ("For scripts: the exit code is 3 if something is unhealthy", "longshore status --check --output json"),
        ],
    ),
    (
        "service",
        &[
            ("Why is it not stable?", "longshore service status web --cluster shop"),
            ("Its deployment is paused: let it go on", "longshore service continue web --cluster shop"),
        ],
    ),
    (
        "service continue",
        &[
            ("Let a deployment that is paused at a lifecycle hook go on", "longshore service continue web"),
            ("Or back to the revision before", "longshore service continue web --cluster shop --rollback"),
            ("Where several hooks wait, one of them", "longshore service continue web --hook post-scale-up-1"),
        ],
    ),
    (
        "service status",
        &[
            (
                "Deployments, what holds it up, the last failures with their output, events",
                "longshore service status web",
            ),
            ("Looked at every two seconds", "longshore service status web --cluster shop --watch"),
            (
                "For scripts: the exit code is 3 if it is not stable",
                "longshore service status web --check --output json",
            ),
        ],
    ),
    (
        "net",
        &[
            ("What networks there are, and who is in them", "longshore net"),
            ("For scripts", "longshore net --output json"),
            ("Why does the service web not reach the database?", "longshore net why service/web 10.0.2.10:5432"),
        ],
    ),
    (
        "net why",
        &[
            ("May the tasks of one service talk to those of another?", "longshore net why service/web service/db:5432"),
            ("Can everybody reach it?", "longshore net why internet eni-0123456789abcdef0:443"),
            ("Does a task get out?", "longshore net why 0123456789abcdef0123456789abcdef internet:443"),
            ("A ping", "longshore net why 10.0.1.4 10.0.2.7 --protocol icmp"),
            (
                "For scripts: the exit code is 0 if it passes and 1 if it does not",
                "longshore net why service/web service/db:5432 --output json",
            ),
        ],
    ),
    (
        "exec",
        &[
            ("A shell in a task's only container", "longshore exec 0123456789abcdef0123456789abcdef"),
            (
                "A command in one container of several, as `ps` names it; exec ends with its exit code",
                "longshore exec 0123456789abcdef0123456789abcdef/web -- cat /etc/hosts",
            ),
        ],
    ),
    (
        "deploy",
        &[
            (
                "A new image, watched, and undone if it fails",
                "longshore deploy web --image registry.example/shop/web:7",
            ),
            (
                "Of one container among several",
                "longshore deploy web --image app=shop/app:7 --image proxy=shop/proxy:2",
            ),
            ("Go back to a revision", "longshore deploy web --cluster shop --task-definition web:3"),
            (
                "Pull the same image names again, within five minutes",
                "longshore deploy web --task-definition web --timeout 5",
            ),
        ],
    ),
    (
        "run",
        &[
            ("Once, with its output here and its exit code", "longshore run migrate --wait"),
            (
                "With another command and a variable",
                "longshore run web:3 --wait --command bin/check-data --env LEVEL=debug",
            ),
            ("Three of it, and do not wait", "longshore run worker --count 3 --cluster shop"),
        ],
    ),
    (
        "events",
        &[
            ("What happened in the last ten minutes, and go on", "longshore events --cluster shop --follow"),
            (
                "One service's deployments since yesterday",
                "longshore events --service web --type deployment --since 24h",
            ),
            ("For scripts: one JSON document per line", "longshore events --type task --output json"),
        ],
    ),
    (
        "cost",
        &[
            ("This month, cluster by cluster", "longshore cost"),
            ("One cluster's services", "longshore cost --cluster shop --by service"),
            ("Day by day, for a spreadsheet", "longshore cost --by day --from 2026-11-01 --to 2026-12-01 --format csv"),
            ("By a tag of tasks and instances", "longshore cost --by tag:team --format json"),
        ],
    ),
    (
        "cost advise",
        &[
            ("Where would it have been cheaper this month?", "longshore cost advise --cluster shop"),
            ("And if tasks may be interrupted", "longshore cost advise --cluster shop --spot"),
            ("For a spreadsheet", "longshore cost advise --from 2026-11-01 --to 2026-12-01 --format csv"),
        ],
    ),
    (
        "token",
        &[(
            "Let three machines join one cluster within a day",
            "longshore token create --cluster shop --machines 3 --hours 24",
        )],
    ),
    ("token create", &[("A token for one machine, good for an hour", "longshore token create > token")]),
    ("token list", &[("Tokens that still work", "longshore token list")]),
    ("token delete", &[("Take one back", "longshore token delete 5f0c6f1e-3c1d-4a58-9d55-6a1f0b1a2c3d")]),
    ("secrets", &[("A new key for all secrets", "longshore secrets rotate-key")]),
    (
        "secrets rotate-key",
        &[
            ("Of the server on this machine, which may go on running", "longshore secrets rotate-key"),
            (
                "Where a passphrase seals the keys",
                "longshore secrets rotate-key --passphrase-file /etc/longshore/passphrase",
            ),
        ],
    ),
    ("state", &[("Is the state whole?", "longshore state check")]),
    (
        "state check",
        &[
            ("Of the server on this machine, which may go on running", "longshore state check"),
            ("For scripts", "longshore state check --data-dir /srv/longshore --output json"),
        ],
    ),
    ("state backup", &[("A copy of one moment; the server may go on running", "longshore state backup monday.db")]),
    ("state restore", &[("Go back to it; the server must be stopped", "longshore state restore --force monday.db")]),
    (
        "completions",
        &[
            ("bash, for everybody", "longshore completions bash > /etc/bash_completion.d/longshore"),
            ("zsh", "longshore completions zsh > /usr/local/share/zsh/site-functions/_longshore"),
            ("fish", "longshore completions fish > ~/.config/fish/completions/longshore.fish"),
        ],
    ),
    (
        "man",
        &[
            ("Read a page", "longshore man status | man -l -"),
            ("Install all of them", "longshore man --dir /usr/local/share/man/man1"),
        ],
    ),
    ("version", &[("For scripts", "longshore version --output json")]),
    (
        "configure",
        &[("The cluster and region of later commands", "longshore configure --cluster shop --region us-east-1")],
    ),
    (
        "configure profile",
        &[("Store the credentials that are in the environment", "longshore configure profile --profile-name shop")],
    ),
    (
        "configure profile default",
        &[("Choose among several", "longshore configure profile default --profile-name shop")],
    ),
    ("configure migrate", &[("Take over what an old ECS CLI wrote", "longshore configure migrate --force")]),
    ("configure default", &[("Choose among several", "longshore configure default --config-name shop")]),
    (
        "up",
        &[
            ("For scripts: what was made", "longshore up --cluster shop --size 3 --capability-iam --output json"),
            (
                "A cluster with three local instances",
                "longshore up --cluster shop --size 3 --instance-type t3.medium --capability-iam",
            ),
            ("Only the cluster; machines attach themselves", "longshore up --cluster shop --empty"),
            (
                "A cluster, and a security group for tasks with an interface of their own",
                "longshore up --cluster shop --launch-type FARGATE --cidr 10.0.0.0/8 --port 443",
            ),
        ],
    ),
    (
        "scale",
        &[(
            "Three container instances, whatever there are now",
            "longshore scale --cluster shop --size 3 --capability-iam",
        )],
    ),
    (
        "check-attributes",
        &[(
            "Could this instance run that definition?",
            "longshore check-attributes --task-def web:3 --container-instances 0123456789abcdef0123456789abcdef",
        )],
    ),
    (
        "compose run",
        &[("One task with other commands in its containers", "longshore compose -p web run web \"sh -c true\"")],
    ),
    ("down", &[("The cluster, its instances and its tasks", "longshore down --cluster shop --force")]),
    (
        "ps",
        &[
            ("What runs, and on which ports", "longshore ps --cluster shop --desired-status RUNNING"),
            ("For scripts: tasks as DescribeTasks has them", "longshore ps --output json"),
        ],
    ),
    (
        "compose",
        &[
            ("Run ./docker-compose.yml as a task", "longshore compose up --cluster shop"),
            ("Another file under another name", "longshore compose -f web.yml -p web up --cluster shop"),
        ],
    ),
    ("compose create", &[("Only register the task definition", "longshore compose create")]),
    (
        "compose up",
        &[
            ("Run it, or bring what runs up to date", "longshore compose up --create-log-groups"),
            ("Replace what runs", "longshore compose -p web up --force-update"),
        ],
    ),
    ("compose start", &[("Run one task if none runs", "longshore compose -p web start")]),
    ("compose scale", &[("Three of it", "longshore compose -p web scale 3")]),
    ("compose ps", &[("Its containers", "longshore compose -p web ps --desired-status RUNNING")]),
    ("compose stop", &[("Stop its tasks", "longshore compose -p web stop")]),
    (
        "compose service",
        &[
            ("Keep one task of ./docker-compose.yml running", "longshore compose -p web service up"),
            ("Three of it, then none, then away with it", "longshore compose -p web service scale 3"),
        ],
    ),
    (
        "compose service create",
        &[
            ("A service that runs nothing yet", "longshore compose -p web service create"),
            (
                "One task on each container instance",
                "longshore compose -p agent service create --scheduling-strategy DAEMON",
            ),
        ],
    ),
    (
        "compose service up",
        &[
            ("Create it, or bring it up to date, and wait", "longshore compose -p web service up --create-log-groups"),
            (
                "At most one task more than desired of four, and never one less",
                "longshore compose -p web service up --deployment-max-percent 125 --deployment-min-healthy-percent 100",
            ),
        ],
    ),
    ("compose service start", &[("Run one task again after `stop`", "longshore compose -p web service start")]),
    ("compose service ps", &[("Its containers", "longshore compose -p web service ps --desired-status RUNNING")]),
    (
        "compose service scale",
        &[(
            "Three tasks, waiting ten minutes for any to come",
            "longshore compose -p web service scale 3 --timeout 10",
        )],
    ),
    ("compose service stop", &[("Stop its tasks and keep the service", "longshore compose -p web service stop")]),
    ("compose service rm", &[("Delete it, and do not wait", "longshore compose -p web service rm --timeout 0")]),
    (
        "logs",
        &[
            (
                "What its containers wrote, and go on",
                "longshore logs --task-id 0123456789abcdef0123456789abcdef --follow",
            ),
            (
                "The last ten minutes of one container",
                "longshore logs --task-id 0123456789abcdef0123456789abcdef --container-name web --since 10",
            ),
        ],
    ),
    ("license", &[("Apache-2.0", "longshore license")]),
];

/// The examples of a command, as the program of that name has them.
pub(crate) fn examples(path: &str, program: &str) -> Option<String> {
    let (_, examples) = EXAMPLES.iter().find(|(of, _)| *of == path)?;
    let named = |command: &str| command.replacen("longshore ", &format!("{program} "), 1);
    let lines: Vec<_> = examples.iter().map(|(what, command)| format!("  # {what}\n  {}", named(command))).collect();
    Some(lines.join("\n\n"))
}

fn dressed(command: Command, program: &str, path: &str) -> Command {
    let command = match examples(path, program) {
        // The first page of the other name would show commands that it has not.
        Some(text) if program == "longshore" || !path.is_empty() => command.after_help(format!("Examples:\n{text}")),
        Some(_) | None => command,
    };
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        dressed(sub, program, path.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of an example that are the program's own: without quotes, pipes and redirections.
    fn words(command: &str) -> Vec<&str> {
        let own = command.strip_prefix("eval \"$(").map_or(command, |inner| inner.trim_end_matches(")\""));
        own.split(['|', '>']).next().unwrap_or_default().split_whitespace().collect()
    }

    fn visit(command: &Command, path: &str, see: &mut dyn FnMut(&str, &Command)) {
        see(path, command);
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            visit(sub, format!("{path} {}", sub.get_name()).trim_start(), see);
        }
    }

    #[test]
    fn every_command_has_examples_and_shows_them() {
        for command in [longshore(), ecs_cli()] {
            let program = command.get_name().to_owned();
            let mut without = Vec::new();
            visit(&command, "", &mut |path, command| {
                let shown = command.get_after_help().is_some_and(|text| text.to_string().contains("  # "));
                let first_page = path.is_empty() && program == "ecs-cli";
                if !(shown || first_page) {
                    without.push(path.to_owned());
                }
            });
            assert_eq!(without, Vec::<String>::new(), "{program}: give them examples in EXAMPLES");
        }
    }

    #[test]
    fn every_example_is_a_command_that_is_understood() {
        let mut known = Vec::new();
        visit(&longshore(), "", &mut |path, _| known.push(path.to_owned()));
        for (path, examples) in EXAMPLES {
            assert!(known.contains(&(*path).to_owned()), "there is no command '{path}'");
            for (_, example) in *examples {
                let words = words(example);
                assert_eq!(words[0], "longshore", "{example}");
                // Credentials of `configure profile` come from the environment, which tests have not.
                if *path == "configure profile" {
                    continue;
                }
                let parsed = longshore().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }
}
