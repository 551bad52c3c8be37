//! Route tables, their associations and their routes.

use super::{
    filter,
    network::{self, not_honoured, required},
    tags, token,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{
    InternetGatewayId, NatGatewayId, Network, Refusal, Route, RouteAssociationId, RouteTable, RouteTableId,
    RouteTarget, SubnetId, VpcId, cidr,
};
use shapes::ec2 as aws;
use wire::NoOutput;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateRouteTable", &["ClientToken", "DryRun", "TagSpecifications.*", "VpcId"]),
    row("DeleteRouteTable", &["DryRun", "RouteTableId"]),
    row("DescribeRouteTables", &["DryRun", "Filters.*", "MaxResults", "NextToken", "RouteTableIds"]),
    row("AssociateRouteTable", &["DryRun", "RouteTableId", "SubnetId"]),
    row("DisassociateRouteTable", &["AssociationId", "DryRun"]),
    row("ReplaceRouteTableAssociation", &["AssociationId", "DryRun", "RouteTableId"]),
    row("CreateRoute", &["DestinationCidrBlock", "DryRun", "GatewayId", "NatGatewayId", "RouteTableId"]),
    row("ReplaceRoute", &["DestinationCidrBlock", "DryRun", "GatewayId", "NatGatewayId", "RouteTableId"]),
    row("DeleteRoute", &["DestinationCidrBlock", "DryRun", "RouteTableId"]),
];

const FILTERS: &[&str] = &[
    "association.gateway-id",
    "association.main",
    "association.route-table-association-id",
    "association.route-table-id",
    "association.subnet-id",
    "owner-id",
    "route-table-id",
    "route.destination-cidr-block",
    "route.gateway-id",
    "route.nat-gateway-id",
    "route.origin",
    "route.state",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateRouteTableRequest,
) -> Result<aws::CreateRouteTableResult, ApiError> {
    let creation = token::creation(request.client_token.as_deref(), &request, |request| request.client_token = None)?;
    let vpc = VpcId::parse(required("vpcId", request.vpc_id)?)?;
    let tags = tags::specified(request.tag_specifications, "route-table")?;
    let decide = |edit: &mut model::network::Edit<'_>| edit.create_route_table(&vpc, creation.clone(), tags.clone());
    let (table, all) = network::change(ctx, caller, decide).await?;
    let client_token = request.client_token;
    Ok(aws::CreateRouteTableResult { route_table: Some(render(&all, &table)), client_token })
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteRouteTableRequest,
) -> Result<NoOutput, ApiError> {
    let id = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    network::change(ctx, caller, |edit| edit.delete_route_table(&id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn associate(
    ctx: &Context,
    caller: &Caller,
    request: aws::AssociateRouteTableRequest,
) -> Result<aws::AssociateRouteTableResult, ApiError> {
    let table = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    let subnet = SubnetId::parse(required("subnetId", request.subnet_id)?)?;
    let (id, _) = network::change(ctx, caller, |edit| edit.associate_route_table(&table, &subnet)).await?;
    Ok(aws::AssociateRouteTableResult { association_id: Some(id.to_string()), association_state: Some(associated()) })
}

pub(super) async fn disassociate(
    ctx: &Context,
    caller: &Caller,
    request: aws::DisassociateRouteTableRequest,
) -> Result<NoOutput, ApiError> {
    let id = RouteAssociationId::parse(required("associationId", request.association_id)?)?;
    network::change(ctx, caller, |edit| edit.disassociate_route_table(&id)).await?;
    Ok(NoOutput {})
}

pub(super) async fn replace_association(
    ctx: &Context,
    caller: &Caller,
    request: aws::ReplaceRouteTableAssociationRequest,
) -> Result<aws::ReplaceRouteTableAssociationResult, ApiError> {
    let id = RouteAssociationId::parse(required("associationId", request.association_id)?)?;
    let table = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    let (new, _) = network::change(ctx, caller, |edit| edit.replace_association(&id, &table)).await?;
    let new_association_id = Some(new.to_string());
    Ok(aws::ReplaceRouteTableAssociationResult { new_association_id, association_state: Some(associated()) })
}

/// From what a request says: exactly one target.
fn route(destination: Option<&str>, gateway: Option<String>, nat_gateway: Option<String>) -> Result<Route, ApiError> {
    let destination = cidr::parameter("destinationCidrBlock", destination)?;
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    let target = match (set(gateway), set(nat_gateway)) {
        (Some(id), None) if id.starts_with(InternetGatewayId::PREFIX) => {
            RouteTarget::InternetGateway(InternetGatewayId::parse(id)?)
        }
        (Some(id), None) => return Err(not_honoured(&format!("GatewayId {id}, which is no internet gateway's,"))),
        (None, Some(id)) => RouteTarget::NatGateway(NatGatewayId::parse(id)?),
        (Some(_), Some(_)) => {
            let text = "The parameters gatewayId and natGatewayId cannot be used together.";
            return Err(Refusal::Combination(text).into());
        }
        (None, None) => return Err(Refusal::Missing("gatewayId").into()),
    };
    Ok(Route { destination, target })
}

pub(super) async fn create_route(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateRouteRequest,
) -> Result<aws::CreateRouteResult, ApiError> {
    let table = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    let route = route(request.destination_cidr_block.as_deref(), request.gateway_id, request.nat_gateway_id)?;
    network::change(ctx, caller, |edit| edit.create_route(&table, route.clone())).await?;
    Ok(aws::CreateRouteResult { r#return: Some(true) })
}

pub(super) async fn replace_route(
    ctx: &Context,
    caller: &Caller,
    request: aws::ReplaceRouteRequest,
) -> Result<NoOutput, ApiError> {
    let table = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    let route = route(request.destination_cidr_block.as_deref(), request.gateway_id, request.nat_gateway_id)?;
    network::change(ctx, caller, |edit| edit.replace_route(&table, route.clone())).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete_route(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteRouteRequest,
) -> Result<NoOutput, ApiError> {
    let table = RouteTableId::parse(required("routeTableId", request.route_table_id)?)?;
    let destination = cidr::parameter("destinationCidrBlock", request.destination_cidr_block.as_deref())?;
    network::change(ctx, caller, |edit| edit.delete_route(&table, destination)).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeRouteTablesRequest,
) -> Result<aws::DescribeRouteTablesResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.route_table_ids.as_deref();
    let asked = network::chosen(named, RouteTableId::parse, |id| all.find_route_table(id), all.route_tables())?;
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, |table, name| values(&all, table, name))?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeRouteTables", caller, request.max_results, token, kept, |table| table.id.to_string())?;
    let route_tables = Some(shown.into_iter().map(|table| render(&all, table)).collect());
    Ok(aws::DescribeRouteTablesResult { route_tables, next_token })
}

fn values(all: &Network, table: &RouteTable, name: &str) -> Vec<String> {
    if let Some(what) = name.strip_prefix("route.") {
        let routes = routes(all, table).into_iter();
        let part = |route: aws::Route| match what {
            "destination-cidr-block" => route.destination_cidr_block,
            "gateway-id" => route.gateway_id,
            "nat-gateway-id" => route.nat_gateway_id,
            "origin" => route.origin,
            _ => route.state,
        };
        return routes.filter_map(part).collect();
    }
    let associations = table.associations.iter();
    match name {
        "association.main" => associations.map(|a| a.subnet.is_none().to_string()).collect(),
        "association.route-table-association-id" => associations.map(|a| a.id.to_string()).collect(),
        "association.route-table-id" => associations.map(|_| table.id.to_string()).collect(),
        "association.subnet-id" => associations.filter_map(|a| a.subnet.as_ref()).map(ToString::to_string).collect(),
        "association.gateway-id" => Vec::new(),
        "owner-id" => vec![table.scope.account.to_string()],
        "route-table-id" => vec![table.id.to_string()],
        "vpc-id" => vec![table.vpc.to_string()],
        tag => filter::of_tags(&table.tags, tag),
    }
}

fn associated() -> aws::RouteTableAssociationState {
    aws::RouteTableAssociationState { state: Some("associated".to_owned()), status_message: None }
}

/// All of a table's routes, the local one first.
fn routes(all: &Network, table: &RouteTable) -> Vec<aws::Route> {
    let local = all.vpc(&table.vpc).map(|vpc| aws::Route {
        destination_cidr_block: Some(vpc.cidr.to_string()),
        gateway_id: Some("local".to_owned()),
        origin: Some("CreateRouteTable".to_owned()),
        state: Some("active".to_owned()),
        ..aws::Route::default()
    });
    let others = table.routes.iter().map(|route| {
        let (gateway_id, nat_gateway_id) = match &route.target {
            RouteTarget::InternetGateway(id) => (Some(id.to_string()), None),
            RouteTarget::NatGateway(id) => (None, Some(id.to_string())),
        };
        let state = if all.is_active(&table.vpc, route) { "active" } else { "blackhole" };
        aws::Route {
            destination_cidr_block: Some(route.destination.to_string()),
            gateway_id,
            nat_gateway_id,
            origin: Some("CreateRoute".to_owned()),
            state: Some(state.to_owned()),
            ..aws::Route::default()
        }
    });
    local.into_iter().chain(others).collect()
}

fn render(all: &Network, table: &RouteTable) -> aws::RouteTable {
    let associations = table.associations.iter().map(|association| aws::RouteTableAssociation {
        main: Some(association.subnet.is_none()),
        route_table_association_id: Some(association.id.to_string()),
        route_table_id: Some(table.id.to_string()),
        subnet_id: association.subnet.as_ref().map(ToString::to_string),
        association_state: Some(associated()),
        ..aws::RouteTableAssociation::default()
    });
    aws::RouteTable {
        associations: Some(associations.collect()),
        owner_id: Some(table.scope.account.to_string()),
        propagating_vgws: Some(Vec::new()),
        route_table_id: Some(table.id.to_string()),
        routes: Some(routes(all, table)),
        tags: tags::render(&table.tags),
        vpc_id: Some(table.vpc.to_string()),
    }
}
