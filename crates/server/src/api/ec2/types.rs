//! Instance types that RunInstances takes, and where.

use super::{architecture, default_vpc, filter, invalid};
use crate::{
    api::ApiError,
    context::{Caller, Context},
};
use model::instance_type::{self, InstanceType};
use shapes::ec2 as aws;

pub(super) fn describe(
    request: aws::DescribeInstanceTypesRequest,
) -> Result<aws::DescribeInstanceTypesResult, ApiError> {
    let named = request.instance_types.unwrap_or_default();
    let unknown: Vec<&str> =
        named.iter().map(String::as_str).filter(|name| instance_type::find(name).is_none()).collect();
    if !unknown.is_empty() {
        let text = format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
        return Err(ApiError::new("InvalidInstanceType", text));
    }
    let asked = instance_type::ALL.iter().filter(|t| named.is_empty() || named.iter().any(|name| name == t.name));
    let kept = filter::keep(asked, request.filters.as_deref(), |t, filter| {
        Some(vec![match filter {
            "instance-type" => t.name.to_owned(),
            "current-generation" => is_current(t).to_string(),
            "bare-metal" | "instance-storage-supported" => false.to_string(),
            "burstable-performance-supported" => is_burstable(t).to_string(),
            "hypervisor" => hypervisor(t).to_owned(),
            "memory-info.size-in-mib" => t.memory_mib.to_string(),
            "processor-info.supported-architecture" => architecture().to_owned(),
            "supported-virtualization-type" => "hvm".to_owned(),
            "supported-usage-class" => "on-demand".to_owned(),
            "vcpu-info.default-vcpus" => t.vcpus.to_string(),
            _ => return None,
        }])
    })?;
    Ok(aws::DescribeInstanceTypesResult {
        instance_types: Some(kept.into_iter().map(info).collect()),
        next_token: None,
    })
}

fn is_burstable(t: &InstanceType) -> bool {
    t.name.starts_with('t')
}

/// AWS counts T2 among the current generation; all others here are newer.
fn is_current(_: &InstanceType) -> bool {
    true
}

fn hypervisor(t: &InstanceType) -> &'static str {
    if t.name.starts_with("t2.") { "xen" } else { "nitro" }
}

fn info(t: &InstanceType) -> aws::InstanceTypeInfo {
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    let vcpus = i32::try_from(t.vcpus).ok();
    aws::InstanceTypeInfo {
        instance_type: Some(t.name.to_owned()),
        current_generation: Some(is_current(t)),
        free_tier_eligible: Some(false),
        supported_usage_classes: words(&["on-demand"]),
        supported_root_device_types: words(&["ebs"]),
        supported_virtualization_types: words(&["hvm"]),
        bare_metal: Some(false),
        hypervisor: Some(hypervisor(t).to_owned()),
        processor_info: Some(aws::ProcessorInfo {
            supported_architectures: words(&[architecture()]),
            ..aws::ProcessorInfo::default()
        }),
        v_cpu_info: Some(aws::VCpuInfo { default_v_cpus: vcpus, ..aws::VCpuInfo::default() }),
        memory_info: Some(aws::MemoryInfo { size_in_mi_b: Some(i64::from(t.memory_mib)) }),
        instance_storage_supported: Some(false),
        burstable_performance_supported: Some(is_burstable(t)),
        ..aws::InstanceTypeInfo::default()
    }
}

pub(super) fn offerings(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeInstanceTypeOfferingsRequest,
) -> Result<aws::DescribeInstanceTypeOfferingsResult, ApiError> {
    let vpc = default_vpc(ctx, caller);
    let kind = request.location_type.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "region".to_owned());
    let locations: Vec<String> = match kind.as_str() {
        "region" => vec![caller.scope.region.to_string()],
        "availability-zone" => vpc.subnets.iter().map(|s| s.availability_zone.clone()).collect(),
        "availability-zone-id" => vpc.subnets.iter().map(|s| s.availability_zone_id.clone()).collect(),
        other => return Err(invalid(format!("Invalid value '{other}' for LocationType."))),
    };
    let all = instance_type::ALL.iter().flat_map(|t| locations.iter().map(move |location| (t, location)));
    let kept = filter::keep(all, request.filters.as_deref(), |(t, location), filter| match filter {
        "location" => Some(vec![(*location).clone()]),
        "instance-type" => Some(vec![t.name.to_owned()]),
        _ => None,
    })?;
    let offerings = kept.into_iter().map(|(t, location)| aws::InstanceTypeOffering {
        instance_type: Some(t.name.to_owned()),
        location: Some(location.clone()),
        location_type: Some(kind.clone()),
    });
    Ok(aws::DescribeInstanceTypeOfferingsResult {
        instance_type_offerings: Some(offerings.collect()),
        next_token: None,
    })
}
