"""How many replicas a deployment has at the moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

logger = logging.getLogger("serve_app")
EVERY_S = 2.0


class ReplicaCount:
    """``value``: those that run, as Serve's controller last said; 1 where it knows of none."""

    def __init__(self, handle: Callable[[], DeploymentHandle | None], matters: Callable[[], bool]) -> None:
        """``handle``: of the deployment that counts now. It is asked for only while its number ``matters``:
        an answer costs 50 ms of processor time."""
        self._handle, self._matters = handle, matters
        self.value = 1

    async def follow(self) -> None:
        """For ever."""
        while True:
            handle = self._handle() if self._matters() else None
            if handle is not None:
                try:
                    self.value = max(1, await asyncio.to_thread(running_replicas, handle))
                except (RayError, RayServeException) as error:
                    logger.warning("the replicas of %s are not known", handle.deployment_name, exc_info=error)
            await asyncio.sleep(EVERY_S)


def running_replicas(handle: DeploymentHandle) -> int:
    """0 where its application does not run. Raises RayError, RayServeException."""
    application = serve.status().applications.get(handle.app_name)
    deployment = application and application.deployments.get(handle.deployment_name)
    return int(deployment.replica_states.get("RUNNING", 0)) if deployment else 0
