// The kernels as a Python module that takes and fills arrays. serve.py calls it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"
#include "scheduler.h"

namespace py = pybind11;
using namespace tcae_ops;

namespace {

// bfloat16, which numpy lacks, is passed as uint16.
Dtype dtype_of(const py::array& array) {
  switch (array.dtype().char_()) {
    case 'B': return Dtype::u8;
    case 'e': return Dtype::f16;
    case 'H': return Dtype::bf16;
    case 'f': return Dtype::f32;
    case 'd': return Dtype::f64;
    default: throw std::invalid_argument("arrays must be of a type that the kernels know");
  }
}

// An array (n, c, h, w); None is an absent tensor. As csrc/torch, it does not move on from a batch of one.
View view_of(const py::object& object) {
  if (object.is_none()) return {};
  const auto a = py::cast<py::array>(object);
  const auto stride = [&](int axis) { return int64_t(a.strides(axis) / a.itemsize()); };
  const int64_t stride_n = a.shape(0) == 1 ? 0 : stride(0);
  return {const_cast<void*>(a.data()), dtype_of(a), a.shape(0), a.shape(1), a.shape(2),
          a.shape(3),                  stride_n,    stride(1),  stride(2),  stride(3)};
}

using Objects = std::vector<py::object>;

std::vector<View> views_of(const Objects& objects) {
  std::vector<View> views;
  for (const py::object& object : objects) views.push_back(view_of(object));
  return views;
}

Padding padding_of(const std::string& name) {
  Padding padding = Padding::border;
  if (!find_padding(name.c_str(), padding)) throw std::invalid_argument("there is no padding " + name);
  return padding;
}

// Does not keep the arrays alive.
struct Inputs {
  std::vector<View> flows, logits;
  Sampling sampling;

  Inputs(const py::object& image, const Objects& by_flow, const Objects& by_logit, const py::object& target,
         const std::string& padding, bool normalized, bool wide)
      : flows(views_of(by_flow)), logits(views_of(by_logit)) {
    const View& size = flows[0];
    sampling = {size.n, size.h, size.w, view_of(image),  flows.data(),     logits.empty() ? nullptr : logits.data(), int64_t(flows.size()),
                view_of(target), padding_of(padding), normalized, wide};
  }
  Inputs(const Inputs&) = delete;
};

void forward(const Inputs& in, const py::object& warped, const py::object& loss) {
  run_forward(in.sampling, {view_of(warped), view_of(loss)});
}

void backward(const Inputs& in, const py::object& by_warped, const py::object& by_loss, const py::object& by_image,
              const Objects& by_flows, const Objects& by_logits, const py::object& by_target, bool deterministic) {
  const std::vector<View> flows = views_of(by_flows);
  std::vector<View> logits = views_of(by_logits);
  logits.resize(flows.size());
  const Gradients g = {view_of(by_warped), view_of(by_loss), view_of(by_image),
                       flows.data(),       logits.data(),    view_of(by_target)};
  run_backward(in.sampling, g, deterministic);
}

}  // namespace

PYBIND11_MODULE(kernels_on_host, m) {
  py::class_<Inputs>(m, "Inputs")
      .def(py::init<py::object, Objects, Objects, py::object, std::string, bool, bool>(), py::arg("image"), py::arg("flows"),
           py::arg("logits"), py::arg("target"), py::arg("padding"), py::arg("normalized"), py::arg("wide"));
  m.def("forward", forward, py::arg("inputs"), py::arg("warped"), py::arg("loss"));
  m.def("backward", backward, py::arg("inputs"), py::arg("by_warped"), py::arg("by_loss"), py::arg("by_image"),
        py::arg("by_flows"), py::arg("by_logits"), py::arg("by_target"), py::arg("deterministic"));
  m.def("set_seed", cuda_host::set_seed);
  m.def("remembered", cuda_host::remembered);
}
