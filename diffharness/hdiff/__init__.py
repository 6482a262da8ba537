# SPDX-License-Identifier: Apache-2.0
"""Runs the same scenario on two engines and compares everything a client or the machine can see."""
