//! Route tables: whose packets they are for, and where those go.

use super::{
    Edit, Key, Network, Refusal, Route, RouteAssociation, RouteAssociationId, RouteTable, RouteTableId, RouteTarget,
    SubnetId, VpcId,
};
use crate::{Creation, Tags};
use ipnet::Ipv4Net;
use std::sync::Arc;

/// Route tables of one VPC. Source: "Amazon VPC quotas".
pub(super) const MAX_ROUTE_TABLES: usize = 200;
/// Routes of one table, the local one not counted. AWS's quota is 500 since 2024.
pub(super) const MAX_ROUTES: usize = 500;

impl Network {
    /// The table that has an association, and the association.
    pub fn association(&self, id: &RouteAssociationId) -> Result<(&Arc<RouteTable>, &RouteAssociation), Refusal> {
        let mut all = self.route_tables().flat_map(|table| table.associations.iter().map(move |a| (table, a)));
        all.find(|(_, association)| association.id == *id).ok_or_else(|| id.missing())
    }

    /// The association of a subnet with a table of its own.
    pub fn association_of(&self, subnet: &SubnetId) -> Option<(&Arc<RouteTable>, &RouteAssociation)> {
        let mut all = self.route_tables().flat_map(|table| table.associations.iter().map(move |a| (table, a)));
        all.find(|(_, association)| association.subnet.as_ref() == Some(subnet))
    }
}

impl Edit<'_> {
    /// Makes an empty table, or answers the one that an earlier request with the same token made.
    pub fn create_route_table(
        &mut self,
        vpc: &VpcId,
        creation: Creation,
        tags: Tags,
    ) -> Result<Arc<RouteTable>, Refusal> {
        let again =
            self.network.route_tables().find(|t| creation.token.is_some() && t.creation.token == creation.token);
        if let Some(known) = again {
            return if known.creation == creation { Ok(known.clone()) } else { Err(Refusal::TokenMismatch) };
        }
        self.network.find_vpc(vpc)?;
        if self.network.route_tables().filter(|table| table.vpc == *vpc).count() >= MAX_ROUTE_TABLES {
            return Err(Refusal::Limit { code: "RouteTableLimitExceeded", what: "route tables" });
        }
        let id = RouteTableId::of(self.number());
        self.put(RouteTable {
            scope: self.scope.clone(),
            id: id.clone(),
            vpc: vpc.clone(),
            routes: Vec::new(),
            associations: Vec::new(),
            creation,
            tags,
        });
        self.network.find_route_table(&id).cloned()
    }

    /// Removes a table that is nobody's.
    pub fn delete_route_table(&mut self, id: &RouteTableId) -> Result<(), Refusal> {
        if !self.network.find_route_table(id)?.associations.is_empty() {
            return Err(Refusal::Dependencies { what: "routeTable", id: id.to_string() });
        }
        self.remove(Key::RouteTable(id.clone()));
        Ok(())
    }

    /// Makes a table a subnet's. Asked for again, it answers the association there is.
    pub fn associate_route_table(
        &mut self,
        id: &RouteTableId,
        subnet: &SubnetId,
    ) -> Result<RouteAssociationId, Refusal> {
        let mut table = RouteTable::clone(self.network.find_route_table(id)?);
        if self.network.find_subnet(subnet)?.vpc != table.vpc {
            return Err(Refusal::RouteTableElsewhere(id.clone(), format!("subnet {subnet}")));
        }
        if let Some((other, association)) = self.network.association_of(subnet) {
            let again = other.id == *id;
            return if again { Ok(association.id.clone()) } else { Err(Refusal::RouteTableAssociated(id.clone())) };
        }
        let association = RouteAssociationId::of(self.number());
        table.associations.push(RouteAssociation { id: association.clone(), subnet: Some(subnet.clone()) });
        self.put(table);
        Ok(association)
    }

    /// Gives a subnet back to the main table.
    pub fn disassociate_route_table(&mut self, id: &RouteAssociationId) -> Result<(), Refusal> {
        let (table, association) = self.network.association(id)?;
        if association.subnet.is_none() {
            return Err(Refusal::MainAssociation(id.clone()));
        }
        let mut table = RouteTable::clone(table);
        table.associations.retain(|association| association.id != *id);
        self.put(table);
        Ok(())
    }

    /// Puts another table in an association's place, the main one's too. The association gets a new id.
    pub fn replace_association(
        &mut self,
        id: &RouteAssociationId,
        to: &RouteTableId,
    ) -> Result<RouteAssociationId, Refusal> {
        let (from, association) = self.network.association(id)?;
        let (mut from, subnet) = (RouteTable::clone(from), association.subnet.clone());
        if self.network.find_route_table(to)?.vpc != from.vpc {
            return Err(Refusal::RouteTableElsewhere(to.clone(), format!("network {}", from.vpc)));
        }
        from.associations.retain(|association| association.id != *id);
        self.put(from);
        let mut table = RouteTable::clone(self.network.find_route_table(to)?);
        let new = RouteAssociationId::of(self.number());
        table.associations.push(RouteAssociation { id: new.clone(), subnet });
        self.put(table);
        Ok(new)
    }

    /// Adds a route.
    pub fn create_route(&mut self, id: &RouteTableId, route: Route) -> Result<(), Refusal> {
        let table = self.network.find_route_table(id)?;
        self.check_route(table, &route)?;
        if table.routes.iter().any(|known| known.destination == route.destination) {
            return Err(Refusal::RouteExists(route.destination));
        }
        if table.routes.len() >= MAX_ROUTES {
            return Err(Refusal::Limit { code: "RouteLimitExceeded", what: "routes" });
        }
        let mut table = RouteTable::clone(table);
        table.routes.push(route);
        table.routes.sort_by_key(|route| route.destination);
        self.put(table);
        Ok(())
    }

    /// Leads a route elsewhere.
    pub fn replace_route(&mut self, id: &RouteTableId, route: Route) -> Result<(), Refusal> {
        let table = self.network.find_route_table(id)?;
        self.check_route(table, &route)?;
        let mut table = RouteTable::clone(table);
        let known = table.routes.iter_mut().find(|known| known.destination == route.destination);
        let missing = Refusal::RouteMissing(route.destination, id.clone());
        *known.ok_or(missing)? = route;
        self.put(table);
        Ok(())
    }

    /// Removes a route.
    pub fn delete_route(&mut self, id: &RouteTableId, destination: Ipv4Net) -> Result<(), Refusal> {
        let table = self.network.find_route_table(id)?;
        if self.network.find_vpc(&table.vpc)?.cidr == destination {
            return Err(Refusal::LocalRoute(destination, id.clone()));
        }
        if !table.routes.iter().any(|route| route.destination == destination) {
            return Err(Refusal::RouteMissing(destination, id.clone()));
        }
        let mut table = RouteTable::clone(table);
        table.routes.retain(|route| route.destination != destination);
        self.put(table);
        Ok(())
    }

    /// A route must leave the VPC, and by a gateway of the VPC's own.
    fn check_route(&self, table: &RouteTable, route: &Route) -> Result<(), Refusal> {
        let network = &self.network;
        let apart = |what: String| Refusal::RouteTableElsewhere(table.id.clone(), what);
        match &route.target {
            RouteTarget::InternetGateway(id) => {
                // AWS: routes know gateways of several kinds by one name.
                let missing = || Refusal::Id {
                    code: "InvalidGatewayID.NotFound",
                    text: format!("The gateway ID '{id}' does not exist"),
                };
                let gateway = network.internet_gateway(id).ok_or_else(missing)?;
                if gateway.vpc.as_ref() != Some(&table.vpc) {
                    return Err(apart(format!("network gateway {id}")));
                }
            }
            RouteTarget::NatGateway(id) => {
                let missing = || Refusal::Id {
                    code: "InvalidNatGatewayID.NotFound",
                    text: format!("The natGateway ID '{id}' does not exist"),
                };
                if network.nat_gateway(id).ok_or_else(missing)?.vpc != table.vpc {
                    return Err(apart(format!("nat gateway {id}")));
                }
            }
        }
        if network.find_vpc(&table.vpc)?.cidr.contains(&route.destination) {
            return Err(Refusal::RouteInsideVpc(route.destination));
        }
        Ok(())
    }
}
