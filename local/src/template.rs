//! Reading `template.yaml`: the only list of routes, batch sizes and schedules.

use std::{collections::HashMap, time::Duration};

use http::Method;
use matchit::Router;
use postrider::hint::Lane;
use serde_yaml_ng::Value;

/// The HTTP functions of the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Registration,
    Credentials,
    Publish,
    Testing,
}

impl Function {
    fn of(resource: &str) -> Option<Self> {
        match resource {
            "RegistrationFunction" => Some(Self::Registration),
            "CredentialsFunction" => Some(Self::Credentials),
            "PublishFunction" => Some(Self::Publish),
            "TestingFunction" => Some(Self::Testing),
            _ => None,
        }
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template.yaml: {0}")]
pub(crate) struct BadTemplate(String);

fn bad(what: impl Into<String>) -> BadTemplate {
    BadTemplate(what.into())
}

/// What the runner does with a template.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) routes: Routes,
    pub(crate) fast: Queue,
    pub(crate) slow: Queue,
    /// How often the scheduler runs.
    pub(crate) schedule: Duration,
}

/// A queue that the delivery function takes records from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Records of one delivery event at most.
    pub(crate) batch_size: usize,
    /// How long a record is invisible while it is worked on.
    pub(crate) visibility: Duration,
    /// How often a record is handed out before it becomes a dead letter.
    pub(crate) max_receives: u32,
}

/// What the template calls a lane's queue.
fn resource(lane: Lane) -> &'static str {
    match lane {
        Lane::Fast => "DeliveryQueue",
        Lane::Slow => "SlowDeliveryQueue",
    }
}

/// Which function answers a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    paths: Router<HashMap<Method, Function>>,
    default: Option<Function>,
}

impl Routes {
    /// As an HTTP API routes: the most specific path that has the method, else `$default`.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Option<Function> {
        let matched = self.paths.at(path).ok().and_then(|found| found.value.get(method).copied());
        matched.or(self.default)
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, BadTemplate> {
        let root: Value = serde_yaml_ng::from_str(text).map_err(|error| bad(error.to_string()))?;
        let resources = root.get("Resources").and_then(Value::as_mapping).ok_or(bad("no Resources"))?;
        let mut found = Found::default();
        for (name, resource) in resources {
            let name = name.as_str().unwrap_or_default();
            let events = resource.get("Properties").and_then(|p| p.get("Events")?.as_mapping());
            for event in events.into_iter().flat_map(|events| events.values()) {
                found.event(name, event)?;
            }
        }
        let mut routes = Routes { default: found.default, ..Routes::default() };
        for (path, methods) in found.paths {
            routes.paths.insert(&path, methods).map_err(|error| bad(format!("{path}: {error}")))?;
        }
        Ok(Self {
            routes,
            fast: queue(root.get("Resources"), &found.batch_sizes, Lane::Fast)?,
            slow: queue(root.get("Resources"), &found.batch_sizes, Lane::Slow)?,
            schedule: found.schedule.ok_or(bad("no function has a schedule"))?,
        })
    }
}

fn queue(
    resources: Option<&Value>,
    batch_sizes: &HashMap<String, usize>,
    lane: Lane,
) -> Result<Queue, BadTemplate> {
    let name = resource(lane);
    let is_no_number = |what| bad(format!("{name}: {what} is no number"));
    let property = |what| {
        let found = resources.and_then(|all| all.get(name)?.get("Properties")?.get(what));
        found.ok_or_else(|| bad(format!("{name} has no {what}")))
    };
    let visibility = property("VisibilityTimeout")?.as_u64();
    let redrive = property("RedrivePolicy")?.get("maxReceiveCount").and_then(Value::as_u64);
    let batch_size = batch_sizes.get(&format!("{name}.Arn")).copied();
    Ok(Queue {
        batch_size: batch_size.ok_or_else(|| bad(format!("no function takes {name}")))?,
        visibility: visibility.map(Duration::from_secs).ok_or_else(|| is_no_number("VisibilityTimeout"))?,
        max_receives: redrive
            .and_then(|count| count.try_into().ok())
            .ok_or_else(|| is_no_number("maxReceiveCount"))?,
    })
}

#[derive(Default)]
struct Found {
    paths: HashMap<String, HashMap<Method, Function>>,
    default: Option<Function>,
    /// By what a queue's ARN is got with.
    batch_sizes: HashMap<String, usize>,
    schedule: Option<Duration>,
}

impl Found {
    fn event(&mut self, resource: &str, event: &Value) -> Result<(), BadTemplate> {
        let property = |name: &str| event.get("Properties").and_then(|properties| properties.get(name));
        let text = |name: &str| {
            property(name)
                .and_then(Value::as_str)
                .ok_or_else(|| bad(format!("{resource}: an event has no {name}")))
        };
        match event.get("Type").and_then(Value::as_str) {
            Some("HttpApi") => {
                let function = Function::of(resource)
                    .ok_or_else(|| bad(format!("{resource} is not a function that the runner knows")))?;
                let (method, path) = (text("Method")?, text("Path")?);
                if path == "$default" {
                    self.default = Some(function);
                    return Ok(());
                }
                let method = method.parse().map_err(|_| bad(format!("{resource}: the method {method:?}")))?;
                // API Gateway writes {name+} for what matchit writes {*name}.
                let path = path.replace("{proxy+}", "{*proxy}");
                self.paths.entry(path).or_default().insert(method, function);
            }
            Some("SQS") => {
                let size = property("BatchSize").and_then(Value::as_u64).unwrap_or(10);
                let size = usize::try_from(size).map_err(|_| bad(format!("{resource}: the BatchSize")))?;
                self.batch_sizes.insert(text("Queue")?.to_owned(), size);
            }
            Some("Schedule") => self.schedule = Some(rate(text("Schedule")?)?),
            other => return Err(bad(format!("{resource}: the runner knows no event of type {other:?}"))),
        }
        Ok(())
    }
}

/// EventBridge's `rate(1 minute)`.
fn rate(expression: &str) -> Result<Duration, BadTemplate> {
    let inner = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let seconds = inner.and_then(|inner| {
        let (count, unit) = inner.split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        let unit = match unit.trim_end_matches('s') {
            "minute" => 60,
            "hour" => 3600,
            "day" => 86_400,
            _ => return None,
        };
        count.checked_mul(unit).filter(|seconds| *seconds > 0)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| bad(format!("the schedule {expression:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_that_is_deployed_is_understood() {
        let template = Template::parse(include_str!("../../template.yaml")).unwrap();
        let queue = Queue { batch_size: 10, visibility: Duration::from_mins(6), max_receives: 5 };
        assert_eq!((template.fast, template.slow), (queue, queue));
        assert_eq!(template.schedule, Duration::from_mins(1));
        let find = |method, path| template.routes.find(&method, path);
        assert_eq!(find(Method::POST, "/v1/events"), Some(Function::Publish));
        assert_eq!(find(Method::PUT, "/v1/webhooks/credentials"), Some(Function::Credentials));
        assert_eq!(find(Method::PATCH, "/v1/webhooks/wh_1"), Some(Function::Registration));
        assert_eq!(find(Method::DELETE, "/v1/events"), Some(Function::Registration), "$default");
        assert_eq!(find(Method::GET, "/nowhere"), Some(Function::Registration), "$default");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["", "Resources: {}", "a: [", "Resources: {DeliveryQueue: {Properties: {}}}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert_eq!(rate("rate(5 minutes)"), Ok(Duration::from_mins(5)));
        for bad in ["cron(* * * * ? *)", "rate(0 minutes)", "rate(x minutes)", "rate(1 week)"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
