/* clgrad.h - everything: train neural networks on any OpenCL device. */
#ifndef CLGRAD_H
#define CLGRAD_H

#include <clgrad/base.h>
#include <clgrad/data.h>
#include <clgrad/device.h>
#include <clgrad/doctor.h>
#include <clgrad/image.h>
#include <clgrad/io.h>
#include <clgrad/nn.h>
#include <clgrad/ops.h>
#include <clgrad/optim.h>
#include <clgrad/plan.h>
#include <clgrad/profile.h>
#include <clgrad/tensor.h>
#include <clgrad/tune.h>

#endif
