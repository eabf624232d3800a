"""An agent that samples several answers and gives the most frequent one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kintsugi.agents import Episode, ModelAgent, Step, Trajectory
from kintsugi.agents.models import Message, Sampling, derived_seed
from kintsugi.agents.react import parse


@dataclass(frozen=True)
class VotingConfig:
    """Configuration of `Voting`. Evaluations and loops set `temperature` and `max_tokens`."""

    votes: int = 3
    temperature: float = 1.0
    max_tokens: int = 16
    system: str = "Answer with one word."


class Voting(ModelAgent[VotingConfig]):
    """Self-consistency (Wang et al., 2023) over one-word answers."""

    config_type = VotingConfig

    async def act(self, episode: Episode) -> Step:
        """Return the most frequent of `votes` answers, or the first of several that are equally frequent."""
        config, chat, answers = self.config, self._chat(episode.observation), []
        for vote in range(config.votes):
            seed = derived_seed(episode.seed, len(episode.steps), vote)
            answers.append(await self.model.complete(chat, Sampling(config.temperature, config.max_tokens, seed)))
        word, _ = Counter(parse(answer.text)[1] for answer in answers).most_common(1)[0]
        best = next(answer for answer in answers if parse(answer.text)[1] == word)
        return Step(episode.observation, "", word, text=best.text, token_ids=best.token_ids, logprobs=best.logprobs)

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return one chat for each turn."""
        turns = [(step, Message("assistant", step.text or step.action, step.token_ids)) for step in attempt.steps]
        return [[*self._chat(step.observation), message] for step, message in turns if step.trainable]

    def _chat(self, observation: str) -> list[Message]:
        return [Message("system", self.config.system), Message("user", observation)]
