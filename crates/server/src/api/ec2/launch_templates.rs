//! EC2 launch templates, as far as Auto Scaling groups need them. A template may say what RunInstances honours; the rest is refused
//! by name when the template is made, and not years later when a group launches from it.

use super::{
    filter, invalid,
    network::{self, required},
    run::Launch,
    tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    InstanceProfile, LaunchTemplate, LaunchTemplateData, LaunchTemplateVersion, Machine, Scope, TemplateMetadata,
    TemplateTags, VersionChoice, launch_template::is_template_name, network::Refusal,
};
use shapes::ec2 as aws;
use state::{Command, Outcome, Snapshot};
use std::sync::Arc;

macro_rules! data {
    ($($other:literal),*) => {
        &[
            $($other,)*
            // Taken as information, as by RunInstances.
            "LaunchTemplateData.IamInstanceProfile.*",
            "LaunchTemplateData.ImageId",
            "LaunchTemplateData.InstanceType",
            "LaunchTemplateData.KeyName",
            "LaunchTemplateData.MetadataOptions.HttpEndpoint",
            "LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit",
            "LaunchTemplateData.MetadataOptions.HttpTokens",
            "LaunchTemplateData.SecurityGroupIds",
            "LaunchTemplateData.SecurityGroups",
            "LaunchTemplateData.TagSpecifications.*",
            "LaunchTemplateData.UserData",
        ]
    };
}

pub(crate) const HONOURED: &[Row] = &[
    row(
        "CreateLaunchTemplate",
        data!["ClientToken", "DryRun", "LaunchTemplateName", "TagSpecifications.*", "VersionDescription"],
    ),
    row(
        "CreateLaunchTemplateVersion",
        data!["ClientToken", "DryRun", "LaunchTemplateId", "LaunchTemplateName", "VersionDescription"],
    ),
    row("DeleteLaunchTemplate", &["DryRun", "LaunchTemplateId", "LaunchTemplateName"]),
    row(
        "DescribeLaunchTemplateVersions",
        &[
            "DryRun",
            "LaunchTemplateId",
            "LaunchTemplateName",
            "MaxResults",
            "MaxVersion",
            "MinVersion",
            "NextToken",
            "Versions",
        ],
    ),
    row(
        "DescribeLaunchTemplates",
        &["DryRun", "Filters.*", "LaunchTemplateIds", "LaunchTemplateNames", "MaxResults", "NextToken"],
    ),
];

const MISMATCH: &str =
    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateLaunchTemplateRequest,
) -> Result<aws::CreateLaunchTemplateResult, ApiError> {
    let name = required("LaunchTemplateName", request.launch_template_name)?;
    if !is_template_name(&name) {
        let text = "Launch template names must be between 3 and 128 characters, and may contain letters, numbers, and the \
                    following characters: - ( ) . / _.";
        return Err(ApiError::new("InvalidLaunchTemplateName.MalformedException", text));
    }
    let first = LaunchTemplateVersion {
        number: 1,
        ..version(ctx, caller, request.launch_template_data, request.version_description)?
    };
    let client_token = request.client_token.filter(|token| !token.is_empty());
    if let Some(known) = made_before(&ctx.store.snapshot(), caller, client_token.as_deref()) {
        let is_same = known.name == name && known.versions.first().is_some_and(|known| known.data == first.data);
        return match is_same {
            true => Ok(created(&known)),
            false => Err(ApiError::new("IdempotentParameterMismatch", MISMATCH)),
        };
    }
    let hex = ctx.effects.hex32();
    let template = LaunchTemplate {
        scope: caller.scope.clone(),
        id: format!("lt-{}", &hex[..17]),
        name,
        default_version: 1,
        created_at: first.created_at,
        created_by: first.created_by.clone(),
        versions: vec![first],
        client_token,
        tags: tags::specified(request.tag_specifications, "launch-template")?,
    };
    let template = answer(ctx, Command::CreateLaunchTemplate(template)).await?;
    Ok(created(&template))
}

fn made_before(snapshot: &Snapshot, caller: &Caller, token: Option<&str>) -> Option<Arc<LaunchTemplate>> {
    let token = token?;
    snapshot.launch_templates(&caller.scope).find(|known| known.client_token.as_deref() == Some(token)).cloned()
}

fn created(template: &LaunchTemplate) -> aws::CreateLaunchTemplateResult {
    aws::CreateLaunchTemplateResult { launch_template: Some(render(template)), warning: None }
}

pub(super) async fn create_version(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateLaunchTemplateVersionRequest,
) -> Result<aws::CreateLaunchTemplateVersionResult, ApiError> {
    let named = (request.launch_template_id, request.launch_template_name);
    let id = find(&ctx.store.snapshot(), &caller.scope, named.0.as_deref(), named.1.as_deref())?.id.clone();
    let mut version = version(ctx, caller, request.launch_template_data, request.version_description)?;
    version.client_token = request.client_token.filter(|token| !token.is_empty());
    let (token, data) = (version.client_token.clone(), version.data.clone());
    let command = Command::AddLaunchTemplateVersion { scope: caller.scope.clone(), id, version };
    let template = answer(ctx, command).await?;
    // Without a token it is the newest.
    let of_token = |one: &&LaunchTemplateVersion| token.is_none() || one.client_token == token;
    let made = template.versions.iter().rfind(of_token);
    let made = made.ok_or_else(|| ApiError::server("AddLaunchTemplateVersion answered without the version"))?;
    if made.data != data {
        return Err(ApiError::new("IdempotentParameterMismatch", MISMATCH));
    }
    let shown = render_version(&template, made);
    Ok(aws::CreateLaunchTemplateVersionResult { launch_template_version: Some(shown), warning: None })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteLaunchTemplateRequest,
) -> Result<aws::DeleteLaunchTemplateResult, ApiError> {
    let named = (request.launch_template_id, request.launch_template_name);
    let id = find(&ctx.store.snapshot(), &caller.scope, named.0.as_deref(), named.1.as_deref())?.id.clone();
    let template = answer(ctx, Command::DeleteLaunchTemplate { scope: caller.scope.clone(), id }).await?;
    Ok(aws::DeleteLaunchTemplateResult { launch_template: Some(render(&template)) })
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeLaunchTemplatesRequest,
) -> Result<aws::DescribeLaunchTemplatesResult, ApiError> {
    let snapshot = ctx.store.snapshot();
    let ids = request.launch_template_ids.iter().flatten().map(|id| (Some(id.as_str()), None));
    let names = request.launch_template_names.iter().flatten().map(|name| (None, Some(name.as_str())));
    let named: Vec<_> = ids.chain(names).collect();
    let templates: Vec<Arc<LaunchTemplate>> = if named.is_empty() {
        snapshot.launch_templates(&caller.scope).cloned().collect()
    } else {
        let found = named.into_iter().map(|(id, name)| find(&snapshot, &caller.scope, id, name).cloned());
        found.collect::<Result<_, _>>()?
    };
    let known = &["launch-template-name", "tag-key", "tag:*"];
    let kept = filter::select(templates, request.filters.as_deref(), known, |template, filter| match filter {
        "launch-template-name" => vec![template.name.clone()],
        other => filter::of_tags(&template.tags, other),
    })?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeLaunchTemplates", caller, request.max_results, token, kept, |one| one.id.clone())?;
    let launch_templates = Some(shown.iter().map(|template| render(template)).collect());
    Ok(aws::DescribeLaunchTemplatesResult { launch_templates, next_token })
}

pub(super) fn describe_versions(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeLaunchTemplateVersionsRequest,
) -> Result<aws::DescribeLaunchTemplateVersionsResult, ApiError> {
    let snapshot = ctx.store.snapshot();
    let named = (request.launch_template_id.as_deref(), request.launch_template_name.as_deref());
    let template = find(&snapshot, &caller.scope, named.0, named.1)?;
    let bound = |text: &Option<String>| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => version_of(template, text).map(|version| Some(version.number)),
    };
    let (first, last) = (bound(&request.min_version)?, bound(&request.max_version)?);
    let asked = request.versions.as_deref().unwrap_or_default();
    let chosen = asked.iter().map(|text| version_of(template, text).map(|version| version.number));
    let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
    let is_meant = |version: &&LaunchTemplateVersion| {
        (chosen.is_empty() || chosen.contains(&version.number))
            && first.is_none_or(|first| version.number >= first)
            && last.is_none_or(|last| version.number <= last)
    };
    let versions = template.versions.iter().filter(is_meant).collect();
    let token = request.next_token.as_deref();
    // The newest is shown first, as in EC2.
    let place = |version: &&LaunchTemplateVersion| format!("{:020}", u64::MAX - version.number);
    let list = "DescribeLaunchTemplateVersions";
    let (shown, next_token) = network::page(list, caller, request.max_results, token, versions, place)?;
    let shown = shown.into_iter().map(|version| render_version(template, version)).collect();
    Ok(aws::DescribeLaunchTemplateVersionsResult { launch_template_versions: Some(shown), next_token })
}

/// The template of an id or of a name, of which there must be one.
pub(crate) fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<&'a Arc<LaunchTemplate>, ApiError> {
    let set = |text: Option<&'_ str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    match (set(id), set(name)) {
        (Some(id), None) => snapshot.launch_template(scope, &id).ok_or_else(|| {
            let text = format!("The specified launch template, with template ID {id}, does not exist.");
            ApiError::new("InvalidLaunchTemplateId.NotFound", text)
        }),
        (None, Some(name)) => snapshot.launch_templates(scope).find(|known| known.name == name).ok_or_else(|| {
            let text = format!("The specified launch template, with template name {name}, does not exist.");
            ApiError::new("InvalidLaunchTemplateName.NotFoundException", text)
        }),
        (Some(_), Some(_)) => {
            let text = "You must specify either a launch template ID or a launch template name, but not both.";
            Err(ApiError::new("InvalidParameterCombination", text))
        }
        (None, None) => Err(Refusal::Missing("LaunchTemplateId").into()),
    }
}

/// The version that a text names.
pub(crate) fn version_of<'a>(template: &'a LaunchTemplate, text: &str) -> Result<&'a LaunchTemplateVersion, ApiError> {
    let choice = VersionChoice::parse(text);
    choice.and_then(|choice| template.version(choice)).ok_or_else(|| {
        let text =
            format!("Could not find the specified version {text} for the launch template with ID {}.", template.id);
        ApiError::new("InvalidLaunchTemplateId.VersionNotFound", text)
    })
}

/// Machines as a version says, in one subnet, with addresses that are free in `snapshot`.
pub(crate) fn machines(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    data: &LaunchTemplateData,
    subnet: &str,
    count: usize,
) -> Result<Vec<Machine>, ApiError> {
    let all = network::of_scope(ctx, scope, snapshot);
    let count = i32::try_from(count).ok();
    let request = aws::RunInstancesRequest {
        subnet_id: Some(subnet.to_owned()),
        min_count: count,
        max_count: count,
        iam_instance_profile: data.instance_profile.as_ref().map(|profile| aws::IamInstanceProfileSpecification {
            arn: profile.arn.clone(),
            name: profile.name.clone(),
        }),
        ..request(data)
    };
    Launch::parse(ctx, scope, snapshot, &all, request)?.machines(ctx, snapshot, &all)
}

/// What RunInstances would be asked for.
fn request(data: &LaunchTemplateData) -> aws::RunInstancesRequest {
    let word = |holds: bool, yes: &str, no: &str| if holds { yes } else { no }.to_owned();
    let options = data.metadata_options.map(|options| aws::InstanceMetadataOptionsRequest {
        http_endpoint: options.enabled.map(|enabled| word(enabled, "enabled", "disabled")),
        http_tokens: options.tokens_required.map(|required| word(required, "required", "optional")),
        http_put_response_hop_limit: options.hop_limit.map(i32::from),
        ..aws::InstanceMetadataOptionsRequest::default()
    });
    let tags = data.tag_specifications.iter().map(|one| aws::TagSpecification {
        resource_type: Some(one.resource_type.clone()),
        tags: tags::render(&one.tags),
    });
    aws::RunInstancesRequest {
        image_id: data.image_id.clone(),
        instance_type: data.instance_type.clone(),
        key_name: data.key_name.clone(),
        user_data: data.user_data.clone(),
        security_group_ids: Some(data.security_group_ids.clone()),
        security_groups: Some(data.security_groups.clone()),
        metadata_options: options,
        tag_specifications: Some(tags.collect()),
        ..aws::RunInstancesRequest::default()
    }
}

/// A version as a request describes it; its number is still to be counted.
fn version(
    ctx: &Context,
    caller: &Caller,
    given: Option<aws::RequestLaunchTemplateData>,
    description: Option<String>,
) -> Result<LaunchTemplateVersion, ApiError> {
    let given = given.ok_or_else(|| ApiError::from(Refusal::Missing("LaunchTemplateData")))?;
    let data = parse(given)?;
    // What a launch would refuse is refused now.
    let snapshot = ctx.store.snapshot();
    Launch::parse(ctx, &caller.scope, &snapshot, &network::seen(ctx, caller, &snapshot), request(&data))?;
    Ok(LaunchTemplateVersion {
        number: 0,
        description: description.filter(|text| !text.is_empty()),
        data,
        client_token: None,
        created_at: ctx.effects.now(),
        created_by: caller.principal.clone(),
    })
}

fn parse(given: aws::RequestLaunchTemplateData) -> Result<LaunchTemplateData, ApiError> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let metadata = given.metadata_options.map(|options| {
        let hops = options.http_put_response_hop_limit;
        let wrong = || invalid("HttpPutResponseHopLimit must be from 1 to 64.");
        Ok::<_, ApiError>(TemplateMetadata {
            enabled: set(options.http_endpoint).map(|word| word == "enabled"),
            tokens_required: set(options.http_tokens).map(|word| word == "required"),
            hop_limit: hops.map(|hops| u8::try_from(hops).map_err(|_| wrong())).transpose()?,
        })
    });
    let tags = given.tag_specifications.unwrap_or_default().into_iter().map(|one| {
        let resource_type = one.resource_type.unwrap_or_default();
        Ok::<_, ApiError>(TemplateTags { resource_type, tags: tags::parse(one.tags.unwrap_or_default())? })
    });
    let profile = given.iam_instance_profile;
    Ok(LaunchTemplateData {
        image_id: set(given.image_id),
        instance_type: set(given.instance_type),
        key_name: set(given.key_name),
        user_data: set(given.user_data),
        security_group_ids: given.security_group_ids.unwrap_or_default(),
        security_groups: given.security_groups.unwrap_or_default(),
        metadata_options: metadata.transpose()?,
        instance_profile: profile.map(|profile| InstanceProfile { arn: set(profile.arn), name: set(profile.name) }),
        tag_specifications: tags.collect::<Result<_, _>>()?,
    })
}

async fn answer(ctx: &Context, command: Command) -> Result<Arc<LaunchTemplate>, ApiError> {
    let Outcome::LaunchTemplate(template) = ctx.store.commit(command).await?.outcome else {
        return Err(ApiError::server("The command answered with something else than the launch template"));
    };
    Ok(template)
}

fn render(template: &LaunchTemplate) -> aws::LaunchTemplate {
    let number = |number: u64| i64::try_from(number).ok();
    aws::LaunchTemplate {
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        create_time: Some(::wire::Timestamp::from_millis(template.created_at.0)),
        created_by: Some(template.created_by.clone()),
        default_version_number: number(template.default_version),
        latest_version_number: number(template.latest_version()),
        tags: tags::render(&template.tags),
        ..aws::LaunchTemplate::default()
    }
}

fn render_version(template: &LaunchTemplate, version: &LaunchTemplateVersion) -> aws::LaunchTemplateVersion {
    aws::LaunchTemplateVersion {
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        version_number: i64::try_from(version.number).ok(),
        version_description: version.description.clone(),
        default_version: Some(version.number == template.default_version),
        create_time: Some(::wire::Timestamp::from_millis(version.created_at.0)),
        created_by: Some(version.created_by.clone()),
        launch_template_data: Some(render_data(&version.data)),
        ..aws::LaunchTemplateVersion::default()
    }
}

fn render_data(data: &LaunchTemplateData) -> aws::ResponseLaunchTemplateData {
    let word = |holds: bool, yes: &str, no: &str| if holds { yes } else { no }.to_owned();
    let list = |all: &Vec<String>| Some(all.clone()).filter(|all| !all.is_empty());
    let tags = data.tag_specifications.iter().map(|one| aws::LaunchTemplateTagSpecification {
        resource_type: Some(one.resource_type.clone()),
        tags: tags::render(&one.tags),
    });
    aws::ResponseLaunchTemplateData {
        image_id: data.image_id.clone(),
        instance_type: data.instance_type.clone(),
        key_name: data.key_name.clone(),
        user_data: data.user_data.clone(),
        security_group_ids: list(&data.security_group_ids),
        security_groups: list(&data.security_groups),
        metadata_options: data.metadata_options.map(|options| aws::LaunchTemplateInstanceMetadataOptions {
            http_endpoint: options.enabled.map(|enabled| word(enabled, "enabled", "disabled")),
            http_tokens: options.tokens_required.map(|required| word(required, "required", "optional")),
            http_put_response_hop_limit: options.hop_limit.map(i32::from),
            ..aws::LaunchTemplateInstanceMetadataOptions::default()
        }),
        iam_instance_profile: data.instance_profile.as_ref().map(|profile| {
            aws::LaunchTemplateIamInstanceProfileSpecification { arn: profile.arn.clone(), name: profile.name.clone() }
        }),
        tag_specifications: Some(tags.collect::<Vec<_>>()).filter(|all| !all.is_empty()),
        ..aws::ResponseLaunchTemplateData::default()
    }
}
