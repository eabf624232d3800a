"""An agent: asks the model several times and says what it answers most often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kintsugi.agents import Episode, ModelAgent, Step, Trajectory
from kintsugi.agents.models import Message, Sampling, derived_seed


@dataclass(frozen=True)
class VotingConfig:
    """How answers are drawn; `temperature` and `max_tokens` are set by whoever plays it."""

    votes: int = 3
    temperature: float = 1.0
    max_tokens: int = 16
    system: str = "Answer with one word."


class Voting(ModelAgent[VotingConfig]):
    """Self-consistency (Wang et al., 2023) over one-word answers."""

    config_type = VotingConfig

    async def act(self, episode: Episode) -> Step:
        """The most frequent of `votes` answers, the first of equal ones."""
        config, chat, drawn = self.config, self._chat(episode.observation), []
        for vote in range(config.votes):
            seed = derived_seed(episode.seed, len(episode.steps), vote)
            drawn.append(await self.model.complete(chat, Sampling(config.temperature, config.max_tokens, seed)))
        word, _ = Counter(answer.text.strip() for answer in drawn).most_common(1)[0]
        said = next(answer for answer in drawn if answer.text.strip() == word)
        return Step(episode.observation, "", word, text=said.text, token_ids=said.token_ids, logprobs=said.logprobs)

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Each turn is a chat of its own."""
        turns = [(step, Message("assistant", step.text or step.action, step.token_ids)) for step in attempt.steps]
        return [[*self._chat(step.observation), said] for step, said in turns if step.trainable]

    def _chat(self, observation: str) -> list[Message]:
        return [Message("system", self.config.system), Message("user", observation)]
