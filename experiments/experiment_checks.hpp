// What must hold between the keys of an experiment, beyond each key's own range.
#pragma once

#include "experiments/experiment.hpp"
#include "experiments/yaml_tree.hpp"

namespace soup {

// Throws ConfigError at the place in `root` of the key that is to be changed, with the values that disagree.
void check_experiment(const Experiment& experiment, const YamlNode& root);

}  // namespace soup
