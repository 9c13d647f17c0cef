// What identifies weights: digests of tensors that do not depend on a file's order, sharding or metadata.
#include "merge/weights_digest.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/tensor_layout.hpp"

namespace soup {

namespace {

void append_tensors(const SafetensorsFile& file, std::vector<TensorSource>& tensors) {
  for (const TensorInfo& tensor : file.tensors()) {
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, file.bytes(tensor)});
  }
}

}  // namespace

Digest weights_digest(std::span<const TensorSource> tensors) {
  std::vector<const TensorSource*> by_name;
  by_name.reserve(tensors.size());
  for (const TensorSource& tensor : tensors) {
    by_name.push_back(&tensor);
  }
  std::ranges::sort(by_name, {}, &TensorSource::name);
  TensorLayout layout;
  for (const TensorSource* tensor : by_name) {
    layout.append(tensor->name, tensor->shape);
  }
  const Digest form = layout.digest();
  Sha256 sha;
  sha.update_field("soup weights 1").update(std::as_bytes(std::span(form.bytes)));
  for (const TensorSource* tensor : by_name) {
    sha.update_field(name_of(tensor->dtype)).update(tensor->bytes);
  }
  return sha.finish();
}

Digest weights_digest(const SafetensorsFile& file) {
  return weights_digest(std::span(&file, 1));
}

Digest weights_digest(std::span<const SafetensorsFile> files) {
  std::vector<TensorSource> tensors;
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (const TensorInfo& tensor : files[i].tensors()) {
      for (std::size_t earlier = 0; earlier < i; ++earlier) {
        if (files[earlier].find(tensor.name) != nullptr) {
          throw DataError(files[i].path(), "tensor " + tensor.name + " is also in " + files[earlier].path().string(),
                          "one part of a model holds each tensor once");
        }
      }
    }
    append_tensors(files[i], tensors);
  }
  return weights_digest(tensors);
}

Digest model_digest(const std::map<std::string, Digest>& parts) {
  Sha256 sha;
  sha.update_field("soup model 1").update_u64(parts.size());
  for (const auto& [name, digest] : parts) {
    sha.update_field(name).update(std::as_bytes(std::span(digest.bytes)));
  }
  return sha.finish();
}

}  // namespace soup
