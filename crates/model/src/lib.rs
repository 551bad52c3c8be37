//! ECS's nouns and laws: typed ARNs, resources, validated task definitions, lifecycle order. Pure.
