"""Deployments: in how many threads, at which level of optimisation and in which precision a file may be run."""

from dashfx.deploy.sessions.options import DEPLOYMENTS, Deployment, Deployments, Sessions

__all__ = ["DEPLOYMENTS", "Deployment", "Deployments", "Sessions"]
