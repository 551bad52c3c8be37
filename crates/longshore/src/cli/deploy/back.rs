//! The way back from a deployment that failed or took too long.
//!
//! The server does it best: StopServiceDeployment lets the last completed deployment take over, whose tasks hold their host
//! ports and whose images are those that ran. Only where it has ended already is the former definition deployed anew.

use super::{Answer, Deploying, End, Verdict, short};
use crate::{
    advice::Advice,
    cli::{client, say, service},
};
use anyhow::{Result, anyhow};
use shapes::ecs;

impl Deploying<'_> {
    /// Goes back and waits for it, unless it is to stay as it is; without anything to go back to says so.
    pub(super) async fn go_back(&self, answer: &mut Answer, stay: bool) -> Result<()> {
        let known = service::gather::described(self.settings, &self.service).await?;
        let verdict = self.verdict(&known, &answer.deployment);
        let going = match &verdict {
            Verdict::InProgress => true,
            Verdict::Failed(_) => false,
            Verdict::RollingBack(reason) => {
                say::info(&format!("{} on its way back already: {reason}", self.service), &[]);
                return self.wait_for_the_way_back(answer).await;
            }
            Verdict::RolledBack(reason) => {
                answer.outcome = "rolledBack";
                self.say_back(reason);
                return Ok(());
            }
            Verdict::Completed => {
                answer.outcome = "completed";
                say::info(&format!("{} is deployed after all", answer.task_definition), &[]);
                return Ok(());
            }
            // What somebody else did meanwhile is not ours to undo.
            Verdict::NotRolledBack(_) | Verdict::Superseded(_) | Verdict::Deleted => return Ok(()),
        };
        let story = known.current_service_deployment.as_deref();
        if stay {
            self.say_how(story.filter(|_| going), answer);
            return Ok(());
        }
        if self.ask_back(story).await? {
            let former = self.former.as_deref().map_or("what was there before", short);
            say::info(&format!("Going back to {former}"), &[]);
            return self.wait_for_the_way_back(answer).await;
        }
        match self.former.as_deref().filter(|former| short(former) != answer.task_definition) {
            Some(former) => self.deploy_anew(former, answer).await,
            None => {
                self.say_nothing_to_go_back_to(story.filter(|_| going), &answer.task_definition);
                Ok(())
            }
        }
    }

    /// Has the last completed deployment take over. False if the server cannot: there is none, or this one has ended already.
    async fn ask_back(&self, story: Option<&str>) -> Result<bool> {
        let Some(arn) = story else { return Ok(false) };
        let request = ecs::StopServiceDeploymentRequest {
            service_deployment_arn: Some(arn.to_owned()),
            stop_type: Some("ROLLBACK".to_owned()),
        };
        match self.settings.client.call(&request).await {
            Ok(_) => Ok(true),
            Err(error) if client::code(&error) == Some("ConflictException") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn wait_for_the_way_back(&self, answer: &mut Answer) -> Result<()> {
        match self.watch(&answer.deployment).await? {
            End::Judged(Verdict::RolledBack(reason)) => {
                answer.outcome = "rolledBack";
                self.say_back(&reason);
                Ok(())
            }
            End::Judged(Verdict::Superseded(_) | Verdict::Deleted | Verdict::Completed) => Ok(()),
            End::Judged(Verdict::NotRolledBack(reason) | Verdict::Failed(reason)) | End::NeverStarts(reason) => {
                Err(self.not_back(&reason))
            }
            End::Judged(Verdict::InProgress | Verdict::RollingBack(_)) | End::TimedOut => {
                Err(self.not_back("time is up"))
            }
            End::Paused(hold) => Err(self.not_back(&hold.what)),
        }
    }

    /// Deploys the former definition once more, and waits for it.
    async fn deploy_anew(&self, former: &str, answer: &mut Answer) -> Result<()> {
        say::info(&format!("Going back to {}", short(former)), &[]);
        let back = self.update(former, false).await?;
        match self.watch(&back).await? {
            End::Judged(Verdict::Completed) => {
                answer.outcome = "rolledBack";
                say::info(&format!("{} is deployed again", short(former)), &[]);
                Ok(())
            }
            End::Judged(Verdict::Superseded(_) | Verdict::Deleted) => Ok(()),
            End::Judged(
                Verdict::Failed(reason)
                | Verdict::RollingBack(reason)
                | Verdict::RolledBack(reason)
                | Verdict::NotRolledBack(reason),
            )
            | End::NeverStarts(reason) => Err(self.not_back(&reason)),
            End::Judged(Verdict::InProgress) | End::TimedOut => Err(self.not_back("time is up")),
            End::Paused(hold) => Err(self.not_back(&hold.what)),
        }
    }

    fn not_back(&self, reason: &str) -> anyhow::Error {
        let former = self.former.as_deref().map_or("What was there before", short);
        let error = anyhow!("{former} did not come back either: {reason}");
        error.context(Advice::new(self.look()))
    }

    /// Who brought the former definition back.
    pub(super) fn say_back(&self, reason: &str) {
        let former = self.former.as_deref().map_or("what was there before", short);
        if reason.contains("circuit breaker") {
            say::info(&format!("Its circuit breaker went back to {former}"), &[]);
        } else {
            say::info(&format!("{} is back at {former}", self.service), &[]);
        }
    }

    /// How to go back by hand. `story` is the deployment that still goes on.
    fn say_how(&self, story: Option<&str>, answer: &Answer) {
        let (service, cluster) = (&self.service, &self.settings.cluster);
        match (story, self.former.as_deref().map(short)) {
            (Some(story), Some(_)) => say::note(self.there(&format!(
                "→ To go back: aws ecs stop-service-deployment --stop-type ROLLBACK --service-deployment-arn {story}"
            ))),
            (None, Some(former)) if former != answer.task_definition => say::note(self.there(&format!(
                "→ To go back: longshore deploy {service} --cluster {cluster} --task-definition {former}"
            ))),
            (story, _) => self.say_nothing_to_go_back_to(story, &answer.task_definition),
        }
    }

    fn say_nothing_to_go_back_to(&self, story: Option<&str>, failed: &str) {
        let (service, cluster) = (&self.service, &self.settings.cluster);
        let why = match self.former.as_deref().map(short) {
            Some(former) => format!("{former} is the definition that was deployed last, too"),
            None => format!("no deployment of {service} was ever completed"),
        };
        say::note(format_args!("There is nothing to go back to: {why}."));
        if self.former.is_none() && short(&self.before) != failed {
            let before = short(&self.before);
            say::note(self.there(&format!(
                "→ What was there before may be tried again: longshore deploy {service} --cluster {cluster} --task-definition \
                 {before}"
            )));
        }
        say::note(self.there(&match story {
            Some(story) => format!(
                "→ It goes on trying. Mend what fails and deploy again (longshore service status {service} --cluster {cluster} \
                 tells it), or end it: aws ecs stop-service-deployment --stop-type ABORT --service-deployment-arn {story}"
            ),
            None => format!(
                "→ Nothing more of it is started. Mend what fails and deploy again: longshore service status {service} \
                 --cluster {cluster} tells it"
            ),
        }));
    }
}
